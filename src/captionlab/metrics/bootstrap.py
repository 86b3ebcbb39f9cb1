"""How much a score would vary with other images: percentile intervals of the bootstrap.

I images, S summed values of an image, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from captionlab.metrics.ngrams import bleu_of

Sums = Literal["mean", "ratio", "deviation", "geometric", "different"]
Kind = Literal[Sums, "bleu_1", "bleu_2", "bleu_3", "bleu_4"]
RESAMPLES = 1000


@dataclass(frozen=True)
class Statistic:
    """What a corpus score is made of, for each image (I, S).

    ``kind`` says how sums over images become the score: mean (S=1), ratio of two sums (S=2),
    standard deviation from values and their squares (S=2), geometric mean of two means (S=2), how
    many of S things occur (different), or BLEU of ``ngrams.bleu_counts`` (S=10). ``shift`` is
    added: METEOR's corpus score is not quite the mean of its images'.
    """

    values: np.ndarray
    kind: Kind = "mean"
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
    random = np.random.default_rng(seed)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=resamples)
    tails = 100 * (1 - level) / 2, 100 * (1 + level) / 2
    weights = drawn.astype(np.float64)
    found = {}
    for name, statistic in statistics.items():
        scores = statistic.score(weights @ statistic.values, images)
        if statistic.kind == "different":
            whole = statistic.values.sum(0, keepdims=True)
            scores += statistic.score(whole, images) - scores.mean()
        low, high = np.percentile(scores, tails)
        found[name] = (float(low), float(high))
    return found
