"""WUPS: answers that are nearly right count, by how near their words are in WordNet.

Malinowski and Fritz, "A Multi-World Approach to Question Answering about Real-World Scenes based on
Uncertain Input", NIPS 2014, section 4; the rules are those of its script calculate_wups.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

Similarity = Callable[[str, str], float | None]
THRESHOLDS = {"wups_09": 0.9, "wups_00": 0.0}
_FAR = 0.1  # of a similarity below the threshold


def wups(answer: str, references: Sequence[str], similarity: Similarity, threshold: float) -> float:
    """Return the WUPS of one answer, 0 to 1, of several references the best.

    An answer is a list, its items parted by commas: each must be near one of the reference's, and
    the other way round. Items that are spelled alike are the same, capitals aside; a similarity
    below the threshold counts a tenth; a word that WordNet lacks is like nothing else. Unlike in the
    script, an answer without commas to a list is one of words: tokenizers drop punctuation.

    Args:
        similarity: of two words, None where one is unknown (``wordnet.Nouns.similarity``).
        threshold: 0.9 as a rule; at 0 all similarities count in full.
    """

    def of_one(reference: str) -> float:
        parted = answer
        if "," in reference and "," not in answer:
            parted = ",".join(answer.split())
        return _agreement(_items(parted), _items(reference), similarity, threshold)

    return max(map(of_one, references))


def _agreement(
    answer: Sequence[str], reference: Sequence[str], similarity: Similarity, threshold: float
) -> float:
    def near(word: str, other: str) -> float:
        if word == other:
            return 1.0
        value = similarity(word, other) or 0.0
        return value if value >= threshold else _FAR * value

    if not answer or not reference:
        return float(not answer and not reference)
    there = prod(max(near(word, other) for other in reference) for word in answer)
    back = prod(max(near(other, word) for word in answer) for other in reference)
    return min(there, back)


def _items(text: str) -> list[str]:
    # "room divider" is one noun, which DAQUAR and WordNet write room_divider
    items = ("_".join(item.lower().split()) for item in text.split(","))
    return [item for item in items if item]
