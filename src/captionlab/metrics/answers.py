"""Scores of answers to questions: accuracy as VQA's official script counts it, and exact match.

Antol et al., "VQA: Visual Question Answering", ICCV 2015, section 3; Goyal et al., "Making the V in
VQA Matter", CVPR 2017. The rules are those of the script of 2021, with its oddities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from captionlab.metrics.references import Candidates, ImageId, PreparedReferences
from captionlab.metrics.wups import THRESHOLDS, Similarity, wups

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
# written as "not behind the letters <=": a point between a digit and a blank goes as any other does
_POINT = re.compile(r"\.(?!\d)", re.ASCII)
_MOST_POINTS = 32  # the script hands a flag, 32, on as the most that are replaced
_COMMA_IN_NUMBER = re.compile(r"\d,\d", re.ASCII)
_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
# Each is also what it means with one of its apostrophes left out. Capitals (Im, Ive, Id've) are in
# the script's table as well, and never met, because words are lower-cased before.
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've
must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't
shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've
they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    whole[:place] + whole[place + 1 :]: whole
    for whole in _CONTRACTED.split()
    for place, sign in enumerate(whole)
    if sign == "'"
} | {"somebody'd": "somebodyd"}  # the wrong way round in the script too


def normalize_answer(text: str) -> str:
    """Return an answer as VQA's official script compares it.

    Lower case, without articles, number words up to ten as digits, contractions with their
    apostrophes. A sign of punctuation is dropped where it stands beside a blank anywhere in the text,
    or where the text holds a number such as 1,000; else it becomes a blank. Points go unless a digit
    follows; apostrophes and colons stay.
    """
    whole = text
    drop_all = _COMMA_IN_NUMBER.search(whole) is not None
    for sign in _PUNCTUATION:
        beside_blank = f"{sign} " in whole or f" {sign}" in whole
        text = text.replace(sign, "" if drop_all or beside_blank else " ")
    text = _POINT.sub("", text, count=_MOST_POINTS)
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """Return VQA's accuracy of one answer, 0 to 1.

    The mean, over every choice of all references but one, of min(1, equal ones / 3): of ten, 0.3,
    0.6, 0.9 and 1 for 1, 2, 3, and 4 or more equal ones. As in the script both sides are normalized
    only where the references differ; ten that are the same are compared letter by letter. It takes
    any number of references: n equal ones of n give min(1, (n - 1) / 3), so one reference alone
    gives 0 whatever the answer is: such data are scored by exact match.
    """
    answer, texts = _stripped(answer), [_stripped(text) for text in references]
    if len(set(texts)) > 1:
        answer, texts = normalize_answer(answer), [normalize_answer(text) for text in texts]
    equal = [text == answer for text in texts]
    of_others = [min(1.0, (sum(equal) - own) / 3) for own in equal]
    return sum(of_others) / len(of_others)


def exact_match(answer: str, references: Sequence[str]) -> bool:
    """Return whether an answer equals one of the references.

    All are tokens joined by a blank, as ``PreparedReferences`` has them. An answer without any token
    equals nothing.
    """
    return bool(answer) and answer in references


class AnswerScores:
    """Scores the answers of a split: ``exact_match``, ``vqa_accuracy``, ``wups_09`` and ``wups_00``.

    The second is left out where no question has more than one answer: it would be 0 whatever is
    answered; WUPS where there is no WordNet.

    Args:
        references: as of ``prepared``, before they were tokenized.
        similarity: of two words, for WUPS; None leaves it out.
    """

    def __init__(
        self,
        prepared: PreparedReferences,
        references: Mapping[ImageId, Sequence[str]],
        similarity: Similarity | None = None,
    ) -> None:
        self._similarity = similarity
        self._tokenized = prepared.texts
        self._references = references
        self._several = any(len(texts) > 1 for texts in references.values())

    def __call__(
        self, ids: Sequence[ImageId], answers: Sequence[str], candidates: Candidates
    ) -> dict[str, np.ndarray]:
        """Return each score (questions,) of answers, which ``candidates`` holds tokenized."""
        rows = zip(candidates.texts, candidates.rows, strict=True)
        matches = [exact_match(text, self._tokenized[row]) for text, row in rows]
        scores = {"exact_match": np.array(matches, dtype=np.float64)}
        if self._several:
            pairs = zip(ids, answers, strict=True)
            accuracies = [vqa_accuracy(answer, self._references[i]) for i, answer in pairs]
            scores["vqa_accuracy"] = np.array(accuracies)
        if self._similarity is not None:
            for name, threshold in THRESHOLDS.items():
                pairs = zip(ids, answers, strict=True)
                near = [wups(a, self._references[i], self._similarity, threshold) for i, a in pairs]
                scores[name] = np.array(near)
        return scores


def _stripped(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
