"""BLEU and ROUGE-L as coco-caption computes them, without Java.

I images, C candidate captions (several may belong to one image).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from captionlab.metrics.references import MAX_ORDER, Candidates, PreparedReferences

# coco-caption's guards against division by zero; part of the numbers for empty captions
_SMALL = 1e-9
_TINY = 1e-15


def bleu(references: PreparedReferences, candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return BLEU-1 to BLEU-4 of the corpus (4,) and of each candidate (C, 4), all in 0..1.

    The brevity penalty takes the reference length closest to the candidate's, the shorter of two.
    Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation",
    with the smoothing constants of coco-caption.
    """
    counts = bleu_counts(references, candidates)
    return bleu_of(counts.sum(0, keepdims=True))[0], bleu_of(counts)


def bleu_counts(references: PreparedReferences, candidates: Candidates) -> np.ndarray:
    """Return what BLEU is made of, for each candidate (C, 10).

    Matches of orders 1 to 4, n-grams of orders 1 to 4, words, and words of the closest reference;
    sums over candidates give the BLEU of them all (``bleu_of``).
    """
    size = len(candidates)
    correct = np.zeros((size, MAX_ORDER))
    for order, (index, counts) in enumerate(zip(references.orders, candidates.orders, strict=True)):
        matches = counts.pair >= 0
        clipped = np.minimum(counts.count[matches], index.pair_max[counts.pair[matches]])
        correct[:, order] = np.bincount(counts.candidate[matches], clipped, minlength=size)
    guesses = np.maximum(candidates.lengths[:, None] - np.arange(MAX_ORDER), 0)
    closest = _closest_lengths(references, candidates)
    return np.column_stack([correct, guesses, candidates.lengths, closest])


def bleu_of(counts: np.ndarray) -> np.ndarray:
    """Return BLEU-1 to BLEU-4 (C, 4) of ``bleu_counts`` (C, 10)."""
    correct, guesses = counts[:, :MAX_ORDER], counts[:, MAX_ORDER : 2 * MAX_ORDER]
    precision = np.cumprod((correct + _TINY) / (guesses + _SMALL), axis=1)
    score = precision ** (1 / np.arange(1, MAX_ORDER + 1))
    ratio = (counts[:, -2] + _TINY) / (counts[:, -1] + _SMALL)
    return score * np.exp(1 - 1 / np.minimum(ratio, 1))[:, None]


def _closest_lengths(references: PreparedReferences, candidates: Candidates) -> np.ndarray:
    """Return the reference length (C,) nearest to each candidate's length, the shorter of two."""
    first = references.first[candidates.rows]
    sizes = references.first[candidates.rows + 1] - first
    starts = np.cumsum(sizes) - sizes
    reference = np.arange(sizes.sum()) + np.repeat(first - starts, sizes)
    lengths = references.lengths[reference]
    bound = int(lengths.max(initial=0)) + 1
    # distance first, then the length: one minimum settles both
    distance = np.abs(lengths - np.repeat(candidates.lengths, sizes))
    if not len(sizes):
        return sizes
    return np.minimum.reduceat(distance * bound + lengths, starts) % bound


class RougeL:
    """ROUGE-L: F-measure of the longest common subsequence, recall ``beta`` times as important.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3, over the
    best precision and the best recall among the references (coco-caption). The subsequences of a
    candidate with all references of its image are found at once, bit-parallel (Hyyrö 2004,
    "Bit-parallel LCS-length computation revisited"): each reference is a lane of one integer, and a
    zero bit above it stops carries.
    """

    def __init__(self, references: PreparedReferences, *, beta: float = 1.2) -> None:
        self._references = references
        self._beta = beta

    def __call__(self, candidates: Candidates) -> np.ndarray:
        """Return the score (C,) of each candidate, in 0..1."""
        lanes = self._lanes
        pairs = [
            _best_precision_and_recall(text, lanes[row])
            for row, text in zip(candidates.rows.tolist(), candidates.texts, strict=True)
        ]
        precision, recall = np.array(pairs).reshape(-1, 2).T
        weight = self._beta**2
        bottom = recall + weight * precision
        return np.divide(
            (1 + weight) * precision * recall, bottom, out=np.zeros_like(bottom), where=bottom > 0
        )

    @cached_property
    def _lanes(self) -> list[_Lanes]:
        return [_Lanes.of(texts) for texts in self._references.texts]


class _Lanes(NamedTuple):
    """The references of one image as bits of one integer."""

    places: dict[str, int]  # token -> where it stands
    all: int
    each: list[tuple[int, int]]  # bits and length of each reference

    @classmethod
    def of(cls, texts: list[str]) -> _Lanes:
        places: dict[str, int] = {}
        each = []
        bit = 1
        for text in texts:
            tokens = text.split(" ")
            each.append((((1 << len(tokens)) - 1) * bit, len(tokens)))
            for token in tokens:
                places[token] = places.get(token, 0) | bit
                bit <<= 1
            bit <<= 1
        return cls(places, sum(lane for lane, _ in each), each)


def _best_precision_and_recall(text: str, lanes: _Lanes) -> tuple[float, float]:
    # an empty caption is one empty token, equal to that of an empty reference (coco-caption)
    tokens = text.split(" ")
    places, everything, each = lanes
    unmatched = everything
    for token in tokens:
        if hit := unmatched & places.get(token, 0):
            unmatched = ((unmatched + hit) | (unmatched - hit)) & everything
    matched = everything ^ unmatched
    common = [((matched & lane).bit_count(), length) for lane, length in each]
    longest = max(size for size, _ in common)
    return longest / len(tokens), max(size / length for size, length in common)
