"""How much a score would vary with other images: percentile intervals of the bootstrap.

I images, S summed values of an image, R resamples.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from captionlab.metrics.ngrams import bleu_of

StatisticKind = Literal[
    "mean", "ratio", "deviation", "geometric", "different", "bleu_1", "bleu_2", "bleu_3", "bleu_4"
]
# how many values S an image has, by the kind of its statistic; None: as many as the things it counts
WIDTHS: dict[StatisticKind, int | None] = {
    "mean": 1,
    "ratio": 2,
    "deviation": 2,
    "geometric": 2,
    "different": None,
    "bleu_1": 10,
    "bleu_2": 10,
    "bleu_3": 10,
    "bleu_4": 10,
}
RESAMPLES = 1000


@dataclass(frozen=True)
class Statistic:
    """What a corpus score is made of, for each image (I, S).

    ``kind`` says how sums over images become the score: mean (S=1), ratio of two sums (S=2),
    standard deviation from values and their squares (S=2), geometric mean of two means (S=2), how
    many of S things occur (different), or BLEU of ``ngrams.bleu_counts`` (S=10). ``shift`` is
    added: METEOR's corpus score is not quite the mean of its images'. A new kind goes into ``score``
    and ``WIDTHS``.
    """

    values: np.ndarray
    kind: StatisticKind = "mean"
    shift: float = 0.0

    def score(self, sums: np.ndarray, images: int) -> np.ndarray:
        """Return the scores (R,) of sums (R, S) over that many images."""
        if self.kind == "mean":
            return sums[:, 0] / images + self.shift
        if self.kind == "ratio":
            return sums[:, 0] / np.maximum(sums[:, 1], 1)
        if self.kind == "deviation":
            mean, square = (sums / images).T
            return np.sqrt(np.maximum(square - mean**2, 0.0))
        if self.kind == "geometric":
            return np.sqrt(np.maximum((sums / images).prod(1), 0.0))
        if self.kind == "different":
            return (sums > 0).sum(1).astype(np.float64)
        return bleu_of(sums)[:, int(self.kind[-1]) - 1]

    def whole(self) -> float:
        """Return the score of all images, each once."""
        sums = self.values.sum(0, keepdims=True)
        return float(self.score(sums, len(self.values))[0])


def intervals(
    statistics: Mapping[str, Statistic],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score: percentiles over images drawn with replacement.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3. All scores share
    the draws, and no caption is scored again. Drawn images repeat, so they hold fewer different
    words than as many other images would: an interval of "different" is moved to where its mean is
    the score.
    """
    if not statistics:
        return {}
    images = len(next(iter(statistics.values())).values)
    weights, _ = _draws(images, resamples, seed)
    return {
        name: _percentiles(_resampled(statistic, weights), level)
        for name, statistic in statistics.items()
    }


@dataclass(frozen=True)
class Difference:
    """How much better one is than another, and the interval that this may as well be."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether 0 lies outside the interval."""
        return not self.low <= 0 <= self.high


def difference(
    runs: Sequence[Statistic],
    others: Sequence[Statistic],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return the mean score of ``runs`` less that of ``others``, over the same images in one order.

    Both sides see the same drawn images (a paired bootstrap, Koehn 2004, section 3.2), and each
    side's runs, its seeds, are drawn with replacement too: with several of them the interval holds
    what another seed would change. ValueError for other images.
    """
    images = {len(statistic.values) for statistic in (*runs, *others)}
    if len(images) != 1:
        raise ValueError(f"scores of {sorted(images)} images cannot be paired")
    weights, after = _draws(images.pop(), resamples, seed)
    random = copy.deepcopy(after)
    means, values = [], []
    for side in (runs, others):
        scores = np.stack([_resampled(statistic, weights) for statistic in side])  # (runs, R)
        drawn = random.integers(len(side), size=(len(side), resamples))
        means.append(np.take_along_axis(scores, drawn, 0).mean(0))
        values.append(np.mean([statistic.whole() for statistic in side]))
    return Difference(float(values[0] - values[1]), *_percentiles(means[0] - means[1], level))


@lru_cache(maxsize=1)  # a table of runs asks for the same draws once a row
def _draws(images: int, resamples: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Return how often each image is drawn (R, I), and the generator as it is after that."""
    random = np.random.default_rng(seed)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=resamples)
    return drawn.astype(np.float64), random


def _resampled(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
    """Return the scores (R,) of drawn images (R, I)."""
    scores = statistic.score(weights @ statistic.values, len(statistic.values))
    if statistic.kind == "different":
        scores += statistic.whole() - scores.mean()
    return scores


def _percentiles(scores: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.percentile(scores, (100 * (1 - level) / 2, 100 * (1 + level) / 2))
    return float(low), float(high)
