"""How far several people agree: Krippendorff's alpha, and its bootstrap interval over units.

J judges, U units (what is judged), V different values, R resamples.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Level = Literal["nominal", "ordinal", "interval"]
RESAMPLES = 1000
MOST_WEIGHTS = 10_000_000  # numbers in memory at once


def krippendorff_alpha(ratings: np.ndarray, level: Level = "nominal") -> float:
    """Return alpha of ratings (J, U), NaN where a judge gave none: 1 is agreement, 0 is chance.

    Units with fewer than two ratings say nothing and are left out. NaN where no unit has two, or
    where all ratings are one value, so that there is nothing to agree about.
    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", University of Pennsylvania.

    Raises:
        ValueError: for ratings that are no table, or another level.
    """
    values, counts = _value_counts(ratings, level)
    ones = np.ones((1, len(counts)))
    return float(_alphas(ones, counts, values, level)[0])


def alpha_interval(
    ratings: np.ndarray,
    level: Level = "nominal",
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of alpha over units drawn with replacement (NaN as alpha is).

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    values, counts = _value_counts(ratings, level)
    if len(counts) == 0:
        return (float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    share = np.full(len(counts), 1 / len(counts))
    together = max(1, MOST_WEIGHTS // len(counts))
    parts = []
    for start in range(0, resamples, together):
        size = min(together, resamples - start)
        weights = random.multinomial(len(counts), share, size=size).astype(np.float64)
        parts.append(_alphas(weights, counts, values, level))
    alphas = np.concatenate(parts)
    alphas = alphas[~np.isnan(alphas)]
    if len(alphas) == 0:
        return (float("nan"), float("nan"))
    outside = 100 * (1 - confidence) / 2
    low, high = np.percentile(alphas, (outside, 100 - outside))
    return (float(low), float(high))


def _value_counts(ratings: np.ndarray, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values (V), and how often each unit with two ratings got it (U, V)."""
    if level not in get_args(Level):
        raise ValueError(f"level={level!r} is none of {', '.join(get_args(Level))}")
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"ratings have the shape {table.shape}, not (judges, units)")
    table = table[:, (~np.isnan(table)).sum(0) >= 2]
    values = np.unique(table[~np.isnan(table)])
    counts = (table[:, :, None] == values).sum(0)
    return values, counts.astype(np.float64)


def _alphas(weights: np.ndarray, counts: np.ndarray, values: np.ndarray, level: str) -> np.ndarray:
    """Return alpha (R) where each unit is drawn ``weights`` (R, U) times."""
    units, size = counts.shape
    if units == 0:
        return np.full(len(weights), np.nan)
    # pairs of values within a unit, each unit weighted as many ratings: the coincidences of a unit
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, range(size), range(size)] -= counts
    pairs /= (counts.sum(1) - 1)[:, None, None]
    coincidences = (weights @ pairs.reshape(units, -1)).reshape(-1, size, size)  # (R, V, V)
    totals = weights @ counts  # (R, V)
    distances = _distances(totals, values, level)
    observed = (coincidences * distances).sum((1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distances).sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (totals.sum(1) - 1) * observed / expected, np.nan)


def _distances(totals: np.ndarray, values: np.ndarray, level: str) -> np.ndarray:
    """Return the squared difference of each two values, (R, V, V) or (1, V, V)."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))[None]
    if level == "interval":
        return ((values[:, None] - values[None, :]) ** 2)[None]
    # ordinal: how many ratings lie from the middle of one value to the middle of the other
    middles = np.cumsum(totals, 1) - totals / 2
    return (middles[:, :, None] - middles[:, None, :]) ** 2
