"""The captions of a data set: how long, of which language, of words or of markup."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captionlab.text.tokenizers import Tokenizer

MARKUP = re.compile(
    r"</?[a-zA-Z][^<>]*>|&(?:[a-zA-Z]{2,8}|#\d{1,6});|https?://|\[\[|\]\]|\{\{|\}\}|\\[nrtu]"
    r"|<\|[^|]*\|>|\[/?INST\]"
)
# the languages of one script, and the others'; a script is the first word of its letters' names
LANGUAGES = {
    "LATIN": "en de fr es it pt nl sv da no fi pl cs tr vi id ro hu",
    "CYRILLIC": "ru uk bg",
    "ARABIC": "ar fa ur",
    "DEVANAGARI": "hi mr ne",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
    "GREEK": "el",
    "HEBREW": "he",
    "HANGUL": "ko",
    "CJK": "zh",
}
SCRIPTS = {language: {script} for script, names in LANGUAGES.items() for language in names.split()}
SCRIPTS["ja"] = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}
# words that no sentence of a language does without, and that few others have
COMMON_WORDS = {
    "en": "a the is are of with and on in an at to his her their near by over under this that",
    "de": "der die das ein eine einen einem einer und ist auf mit von im dem den sich zwei vor",
    "fr": "le la les un une des est et dans sur avec du au deux qui sont en devant",
    "es": "el la los las un una es en con del de dos que por sobre está y",
    "it": "il la lo gli le un una nel con di due che su della sul e è",
    "pt": "os um uma em com do da na dois que por sobre está o a e é",
    "nl": "de het een en is op met van twee die zijn voor naar",
}
WORDS = {language: frozenset(words.split()) for language, words in COMMON_WORDS.items()}
LEAST_WORDS = 3  # different ones of another language, in a caption without one of its own


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long ``captions`` captions are in tokens, and how many are ``cut`` at ``most``."""

    shortest: int
    median: int
    longest: int
    cut: int
    captions: int
    most: int

    @classmethod
    def of(cls, lengths: Sequence[int], most: int) -> Lengths:
        """Return the summary of lengths, of which there is at least one."""
        ordered = sorted(lengths)
        cut = sum(length > most for length in ordered)
        median = ordered[len(ordered) // 2]
        return cls(ordered[0], median, ordered[-1], cut, len(ordered), most)

    def __str__(self) -> str:
        return (
            f"{self.shortest} to {self.longest} tokens a training caption, median {self.median}; "
            f"{self.cutting}"
        )

    @property
    def cutting(self) -> str:
        """How many are cut, in words."""
        return f"data.max_length={self.most} cuts {self.cut:,} ({self.cut / self.captions:.1%})"


def token_lengths(captions: Iterable[str], tokenizer: Tokenizer) -> list[int]:
    """Return the number of tokens of each caption."""
    return [len(tokenizer.encode(caption)) for caption in captions]


def markup(captions: Iterable[str]) -> list[tuple[str, str]]:
    """Return caption and sign for those with tags, entities, addresses or escapes in them."""
    matches = ((caption, MARKUP.search(caption)) for caption in captions)
    return [(caption, match[0]) for caption, match in matches if match]


def of_another_language(captions: Iterable[str], language: str) -> list[tuple[str, str]]:
    """Return caption and what it looks like, for those that are not in ``language``.

    Told by script, and among languages in Latin letters by their commonest words; a caption that
    could be either is not among them.
    """
    guesses = ((caption, _other_language(caption, language)) for caption in captions)
    return [(caption, other) for caption, other in guesses if other]


def _other_language(caption: str, language: str) -> str | None:
    scripts = SCRIPTS.get(language)
    if scripts is None:
        return None
    scripts_seen = Counter(map(_script, filter(str.isalpha, caption[:2000])))
    if scripts_seen and 2 * sum(scripts_seen[one] for one in scripts) < scripts_seen.total():
        return scripts_seen.most_common(1)[0][0].capitalize()
    if language not in WORDS:
        return None
    words = set(re.findall(r"[^\W\d_]+", caption.lower()))
    if words & WORDS[language]:
        return None
    counts = Counter({other: len(words & common) for other, common in WORDS.items()})
    other, count = counts.most_common(1)[0]
    return other if count >= LEAST_WORDS else None


def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]
