"""How far stated chances of being right can be relied on.

N captions, each with a chance in [0, 1] and a judgment, right (1) or not (0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

BINS = 15  # as Guo et al. (2017) have it
Bins = Literal["width", "mass"]


@dataclass(frozen=True)
class ReliabilityBin:
    """The captions whose chance lies in one interval: their number, mean chance, share that is right."""

    low: float
    high: float
    count: int
    probability: float
    accuracy: float


def reliability_table(
    probabilities: ArrayLike, right: ArrayLike, *, bins: int = BINS, kind: Bins = "width"
) -> list[ReliabilityBin]:
    """Return the bins that hold a caption, from low chances to high ones.

    ``kind``: "width" divides [0, 1] evenly (Guo et al. 2017, section 3), "mass" puts as many captions
    into each bin (adaptive; Nixon et al. 2019, "Measuring Calibration in Deep Learning"). A chance on
    an edge belongs to the bin above.
    """
    chance, judged = _pair(probabilities, right)
    if kind == "mass":
        order = np.argsort(chance, kind="stable")
        parts = [part for part in np.array_split(order, bins) if len(part)]
        edges = [(float(chance[part[0]]), float(chance[part[-1]])) for part in parts]
    else:
        place = np.minimum((chance * bins).astype(int), bins - 1)
        numbers = np.unique(place)
        parts = [np.flatnonzero(place == number) for number in numbers]
        edges = [(float(number / bins), float((number + 1) / bins)) for number in numbers]
    return [
        ReliabilityBin(*edge, len(part), float(chance[part].mean()), float(judged[part].mean()))
        for part, edge in zip(parts, edges, strict=True)
    ]


def expected_calibration_error(
    probabilities: ArrayLike, right: ArrayLike, *, bins: int = BINS, kind: Bins = "width"
) -> float:
    """Return the mean distance of chance and accuracy over bins, weighed by their captions.

    Source: Guo et al. 2017, equation 3; ``kind`` as of ``reliability_table``.
    """
    table = reliability_table(probabilities, right, bins=bins, kind=kind)
    total = sum(one.count for one in table)
    return sum(one.count * abs(one.probability - one.accuracy) for one in table) / total


def brier_score(probabilities: ArrayLike, right: ArrayLike) -> float:
    """Return the mean squared difference of chance and judgment (Brier 1950), 0 at best."""
    chance, judged = _pair(probabilities, right)
    return float(np.mean((chance - judged) ** 2))


def risk_coverage(probabilities: ArrayLike, right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage (N,) and risk (N,): the k surest captions of N, and the share of wrong ones.

    Captions of the same chance cannot be told apart: each counts as the mean of them, which is what
    a random order gives on average.
    Source: Geifman & El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
    """
    chance, judged = _pair(probabilities, right)
    values, group = np.unique(-chance, return_inverse=True)
    counts = np.bincount(group, minlength=len(values))
    wrong = np.bincount(group, 1 - judged, minlength=len(values)) / counts
    kept = np.arange(1, len(chance) + 1)
    return kept / len(chance), np.cumsum(np.repeat(wrong, counts)) / kept


def area_under_risk_coverage(probabilities: ArrayLike, right: ArrayLike) -> float:
    """Return the mean risk over all coverages (AURC), 0 at best; the share of wrong ones for no order.

    Source: Geifman, Uziel & El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation", equation 2.
    """
    return float(risk_coverage(probabilities, right)[1].mean())


def accuracy_at(probabilities: ArrayLike, right: ArrayLike, coverage: float) -> float:
    """Return the share of right ones among the surest captions, ``coverage`` of all (one at least)."""
    covered, risk = risk_coverage(probabilities, right)
    place = max(0, round(coverage * len(covered)) - 1)
    return float(1 - risk[place])


def _pair(probabilities: ArrayLike, right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    chance = np.asarray(probabilities, dtype=np.float64)
    judged = np.asarray(right, dtype=np.float64)
    if chance.shape != judged.shape or chance.ndim != 1 or not len(chance):
        raise ValueError(f"columns of one length above 0, not {chance.shape} and {judged.shape}")
    if not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("chances lie from 0 to 1")
    return chance, judged
