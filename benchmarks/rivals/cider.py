"""CIDEr-D in dictionaries of tuples, as the scorers of coco-caption compute it, written anew.

https://github.com/ruotianluo/cider (pyciderevalcap/ciderD): counts of n-grams, weights and cosines
are made in Python for every caption and, each time anew, for every reference of its image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

ORDERS = 4
SIGMA = 6.0
Counts = dict[tuple[str, ...], int]
Vector = tuple[list[dict[tuple[str, ...], float]], list[float], int]


class CiderD:
    """Scores captions, given as text, by the document frequencies of references."""

    def __init__(self, references: Iterable[Sequence[str]]) -> None:
        self.frequency: defaultdict[tuple[str, ...], float] = defaultdict(float)
        images = 0
        for captions in references:
            images += 1
            for gram in {gram for caption in captions for gram in counted(caption)}:
                self.frequency[gram] += 1
        self.log_images = np.log(float(images))

    def __call__(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """Return the score of each caption against its references."""
        pairs = zip(captions, references, strict=True)
        tests = [(counted(one), [counted(text) for text in several]) for one, several in pairs]
        return np.array([self._score(test, several) for test, several in tests])

    def _score(self, test: Counts, references: list[Counts]) -> float:
        vector = self._vector(test)
        score = np.array([0.0 for _ in range(ORDERS)])
        for reference in references:
            score += similarity(vector, self._vector(reference))
        return float(np.mean(score)) / len(references) * 10.0

    def _vector(self, counts: Counts) -> Vector:
        weights: list[dict[tuple[str, ...], float]] = [defaultdict(float) for _ in range(ORDERS)]
        squares = [0.0 for _ in range(ORDERS)]
        length = 0
        for gram, count in counts.items():
            frequency = np.log(max(1.0, self.frequency[gram]))
            order = len(gram) - 1
            weights[order][gram] = float(count) * (self.log_images - frequency)
            squares[order] += pow(weights[order][gram], 2)
            if order == 1:
                length += count
        return weights, [np.sqrt(square) for square in squares], length


def counted(text: str) -> Counts:
    """Return how often each n-gram of a text stands in it."""
    words = text.split()
    counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for order in range(1, ORDERS + 1):
        for start in range(len(words) - order + 1):
            counts[tuple(words[start : start + order])] += 1
    return counts


def similarity(caption: Vector, reference: Vector) -> np.ndarray:
    """Return the clipped cosines of each order, less for another length."""
    weights, norms, length = caption
    their_weights, their_norms, their_length = reference
    delta = float(length - their_length)
    value = np.array([0.0 for _ in range(ORDERS)])
    for order in range(ORDERS):
        theirs = their_weights[order]
        for gram in weights[order]:
            value[order] += min(weights[order][gram], theirs[gram]) * theirs[gram]
        if norms[order] != 0 and their_norms[order] != 0:
            value[order] /= norms[order] * their_norms[order]
        assert not math.isnan(value[order])
        value[order] *= np.e ** (-(delta**2) / (2 * SIGMA**2))
    return value
