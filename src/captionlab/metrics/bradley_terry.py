"""Which system people prefer: strengths from paired comparisons with ties, and their intervals.

S systems, P pairs of them (``pairs_of``), R resamples, I images. The three outcomes of a pair (a, b)
are: a is preferred, b is preferred, equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

RESAMPLES = 1000
STEPS = 100
TOLERANCE = 1e-9
MOST_NUMBERS = 5_000_000  # of an array in memory
LARGEST_STEP = 2.0  # of a log strength, so that Newton's method stays where its model holds


@dataclass(frozen=True)
class Strengths:
    """Log strengths (..., S), whose mean is 0, and the log of the tie parameter (...)."""

    log_strengths: np.ndarray
    log_tie: np.ndarray


def pairs_of(systems: int) -> list[tuple[int, int]]:
    """Return the pairs (a, b) of systems with a < b, in the order that outcomes have."""
    return list(combinations(range(systems), 2))


def connected_groups(outcomes: np.ndarray, systems: int) -> list[list[int]]:
    """Return the groups of systems (S) that comparisons (P, 3) connect, directly or through others.

    Strengths of two groups cannot be compared: nothing says how one stands to the other.
    """
    group = list(range(systems))
    for (a, b), counts in zip(pairs_of(systems), outcomes, strict=True):
        if counts.sum():
            group = [group[a] if one == group[b] else one for one in group]
    return [[n for n in range(systems) if group[n] == first] for first in dict.fromkeys(group)]


def fit_davidson(outcomes: np.ndarray, systems: int, *, pseudo_count: float = 0.0) -> Strengths:
    """Return the strengths that make these outcomes most likely.

    Davidson 1970, "On Extending the Bradley-Terry Model to Accommodate Ties in Paired Comparison
    Experiments", JASA 65 (329): P(a preferred) : P(b preferred) : P(equal) =
    s_a : s_b : v * sqrt(s_a * s_b). Without a tie it is Bradley and Terry's model of 1952.
    The log-likelihood is concave, and Newton's method maximizes it for all leading axes at once.

    Args:
        outcomes: how often a pair ended with a, b, equal: (..., P, 3).
        systems: S.
        pseudo_count: is added to each outcome of each pair that was compared. Without it a system
            that always wins has no finite strength.

    Raises:
        ValueError: for outcomes of another shape, or where no maximum is reached (a system that won,
            or lost, all its comparisons, without pseudo_count).
    """
    pairs = pairs_of(systems)
    table = np.asarray(outcomes, dtype=np.float64)
    if systems < 2 or table.shape[-2:] != (len(pairs), 3):
        raise ValueError(f"outcomes of {systems} systems have the shape (..., {len(pairs)}, 3), "
                         f"not {table.shape}")  # fmt: skip
    leading = table.shape[:-2]
    counts = table.reshape(-1, len(pairs), 3)
    compared = counts.sum(2, keepdims=True) > 0
    counts = counts + pseudo_count * compared
    tied = bool(counts[:, :, 2].sum() > 0)
    features = _features(systems, pairs)
    together = max(1, MOST_NUMBERS // features.size)
    parameters = np.concatenate(
        [
            _maximize(counts[start : start + together], features, tied)
            for start in range(0, len(counts), together)
        ]
        or [np.zeros((0, systems + 1))]
    )
    strengths = parameters[:, :systems] - parameters[:, :systems].mean(1, keepdims=True)
    log_tie = parameters[:, systems] if tied else np.full(len(parameters), -np.inf)
    return Strengths(strengths.reshape(*leading, systems), log_tie.reshape(leading))


def _features(systems: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Return what each outcome's log probability is linear in, (P, 3, S + 1), the tie last."""
    features = np.zeros((len(pairs), 3, systems + 1))
    for number, (a, b) in enumerate(pairs):
        features[number, 0, a] = features[number, 1, b] = 1.0
        features[number, 2, [a, b]] = 0.5
        features[number, 2, systems] = 1.0
    return features


def _maximize(counts: np.ndarray, features: np.ndarray, tied: bool) -> np.ndarray:
    """Return the parameters (R, S + 1) of counts (R, P, 3) by Newton's method."""
    size = features.shape[-1]
    flat = features.reshape(-1, size)
    parameters = np.zeros((len(counts), size))
    free = np.arange(size) < size - (not tied)
    total = counts.sum(2, keepdims=True)
    for _ in range(STEPS):
        logits = parameters @ flat.T
        logits = logits.reshape(counts.shape)
        if not tied:
            logits[:, :, 2] = -np.inf
        probabilities = np.exp(logits - logits.max(2, keepdims=True))
        probabilities /= probabilities.sum(2, keepdims=True)
        expected = total * probabilities
        gradient = (counts - expected).reshape(len(counts), -1) @ flat
        means = probabilities[:, :, None, :] @ features  # (R, P, 1, S + 1)
        spread = features - means  # (R, P, 3, S + 1)
        weighted = np.sqrt(expected)[..., None] * spread
        weighted = weighted.reshape(len(counts), -1, size)
        hessian = weighted.transpose(0, 2, 1) @ weighted
        step = _solve(hessian, gradient, free)
        parameters += np.clip(step, -LARGEST_STEP, LARGEST_STEP)
        if np.abs(step).max() < TOLERANCE:
            return parameters
    raise ValueError("a system won, or lost, all its comparisons: there is no finite strength")


def _solve(hessian: np.ndarray, gradient: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return Newton's step; directions without any curvature, such as a common shift, have none."""
    inverse = np.linalg.pinv(hessian[:, free][:, :, free], rcond=1e-12, hermitian=True)
    step = np.zeros_like(gradient)
    step[:, free] = (inverse @ gradient[:, free, None])[..., 0]
    return step


@dataclass(frozen=True)
class Preferences:
    """What comparisons of S systems come to, each with its interval (low, high).

    ``win_rates`` (S): the share of a system's comparisons that it won, a tie counting half;
    ``pair_rates`` (P): the same of the first of each pair against the second.
    """

    log_strengths: np.ndarray
    strength_intervals: np.ndarray
    win_rates: np.ndarray
    win_rate_intervals: np.ndarray
    pair_rates: np.ndarray
    pair_rate_intervals: np.ndarray
    log_tie: float


def preferences(
    outcomes: np.ndarray,
    systems: int,
    *,
    pseudo_count: float = 0.5,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Preferences:
    """Return strengths and win rates of outcomes by image, with bootstrap intervals over images.

    Images are drawn with replacement (Efron and Tibshirani 1993, section 13.3), each with all
    judgments of it, which depend on each other.

    Args:
        outcomes: how often each image's pair ended with a, b, equal: (I, P, 3).
        systems: S.
        pseudo_count: as ``fit_davidson`` has it.
    """
    table = np.asarray(outcomes, dtype=np.float64)
    images = len(table)
    if images == 0:
        raise ValueError("there is no judgment")
    random = np.random.default_rng(seed)
    weights = random.multinomial(images, np.full(images, 1 / images), size=resamples)
    sums = (weights @ table.reshape(images, -1)).reshape(resamples, *table.shape[1:])
    whole = table.sum(0)
    fitted = fit_davidson(whole, systems, pseudo_count=pseudo_count)
    drawn = fit_davidson(sums, systems, pseudo_count=pseudo_count)

    def interval(values: np.ndarray) -> np.ndarray:
        outside = (1 - confidence) / 2
        bounds = np.full((values.shape[1], 2), np.nan)
        known = ~np.isnan(values).all(0)  # what was compared at all
        bounds[known] = np.nanquantile(values[:, known], (outside, 1 - outside), axis=0).T
        return bounds

    return Preferences(
        log_strengths=fitted.log_strengths,
        strength_intervals=interval(drawn.log_strengths),
        win_rates=win_rates(whole, systems),
        win_rate_intervals=interval(win_rates(sums, systems)),
        pair_rates=pair_rates(whole),
        pair_rate_intervals=interval(pair_rates(sums)),
        log_tie=float(fitted.log_tie),
    )


def pair_rates(outcomes: np.ndarray) -> np.ndarray:
    """Return the share (..., P) that the first of each pair won, ties half; NaN where none was compared."""
    with np.errstate(invalid="ignore"):
        return (outcomes[..., 0] + outcomes[..., 2] / 2) / outcomes.sum(-1)


def win_rates(outcomes: np.ndarray, systems: int) -> np.ndarray:
    """Return the share (..., S) of its comparisons that each system won, ties half; else NaN."""
    won = np.zeros((*outcomes.shape[:-2], systems))
    total = np.zeros_like(won)
    for number, (a, b) in enumerate(pairs_of(systems)):
        of_pair = outcomes[..., number, :]
        won[..., a] += of_pair[..., 0] + of_pair[..., 2] / 2
        won[..., b] += of_pair[..., 1] + of_pair[..., 2] / 2
        total[..., a] += of_pair.sum(-1)
        total[..., b] += of_pair.sum(-1)
    with np.errstate(invalid="ignore"):
        return won / total
