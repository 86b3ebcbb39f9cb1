"""What judgments come to: preferences, ratings, agreement, and how each judge judged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from captionlab.applications.human_evaluation.judgments import EQUAL, Judgment
from captionlab.core.errors import UserError
from captionlab.metrics.agreement import Level, alpha_interval, krippendorff_alpha
from captionlab.metrics.bootstrap import Statistic, intervals
from captionlab.metrics.bradley_terry import connected_groups, pairs_of, preferences

MOST_SYSTEMS = 50
MOST_IMAGES = 20_000
MOST_JUDGMENTS = 1_000_000
MOST_CELLS = 50_000_000  # of a table in memory
PSEUDO_COUNT = 0.5
RATED = ("correctness", "fluency")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SystemResult:
    """A system's comparisons; ``strength``: its log strength, 0 on average over the systems."""

    name: str
    wins: int
    ties: int
    losses: int
    win_rate: Estimate
    strength: Estimate
    ratings: dict[str, Estimate]


@dataclass(frozen=True)
class PairResult:
    """How the first of two systems did against the second."""

    a: str
    b: str
    wins: int
    ties: int
    losses: int
    win_rate: Estimate


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha of what was judged by two people at least, and of how many such units."""

    what: str
    level: Level
    alpha: Estimate
    units: int


@dataclass(frozen=True)
class JudgeResult:
    """How a judge judged; shares are None where there is nothing to take a share of.

    ``consistent``: of repeated pairs, those judged as before. ``left``: of preferences, those for
    the left side. ``agreement``: with each other judge of the same pair.
    """

    judge: str
    judgments: int
    equal: float | None
    repeats: int
    consistent: float | None
    left: float | None
    agreement: float | None
    seconds: float | None


@dataclass(frozen=True)
class Results:
    """All of it: systems, the most preferred first; ``log_tie``: Davidson's tie parameter.

    ``groups``: names of systems that comparisons connect; strengths tell nothing from one to another.
    """

    judgments: int
    images: int
    systems: list[SystemResult]
    pairs: list[PairResult]
    agreement: list[Agreement]
    judges: list[JudgeResult]
    log_tie: float
    groups: list[list[str]]


def analyze(judgments: Sequence[Judgment], *, seed: int = 0) -> Results:
    """Return what judgments come to; repetitions count for consistency alone.

    Raises:
        UserError: if there is none, or of too many systems.
    """
    names = sorted({name for one in judgments for name in (one.system_a, one.system_b)})
    if len(names) > MOST_SYSTEMS:
        raise UserError(f"{len(names)} systems: {MOST_SYSTEMS} are the most that are compared")
    if len(judgments) > MOST_JUDGMENTS:
        raise UserError(f"{len(judgments):,} judgments: {MOST_JUDGMENTS:,} are the most")
    first = [one for one in judgments if not one.repeat]
    if not first:
        raise UserError("there is no judgment yet")
    images = sorted({one.image for one in first})
    pairs_each = len(names) * (len(names) - 1) // 2
    if len(images) > MOST_IMAGES or 3 * len(images) * pairs_each > MOST_CELLS:
        raise UserError(f"{len(images):,} images of {len(names)} systems are too many to analyze")
    outcomes = _outcomes(first, names, images)
    found = preferences(outcomes, len(names), pseudo_count=PSEUDO_COUNT, seed=seed)
    whole = outcomes.sum(0)
    ratings = _ratings(first, names, images, seed)
    systems = []
    for number, name in enumerate(names):
        wins, ties, losses = _record(whole, len(names), number)
        win_rate = _estimate(found.win_rates[number], found.win_rate_intervals[number])
        strength = _estimate(found.log_strengths[number], found.strength_intervals[number])
        systems.append(SystemResult(name, wins, ties, losses, win_rate, strength, ratings[name]))
    pairs = [
        PairResult(
            names[a],
            names[b],
            int(whole[number, 0]),
            int(whole[number, 2]),
            int(whole[number, 1]),
            _estimate(found.pair_rates[number], found.pair_rate_intervals[number]),
        )
        for number, (a, b) in enumerate(pairs_of(len(names)))
        if whole[number].sum()
    ]
    return Results(
        judgments=len(first),
        images=len(images),
        systems=sorted(systems, key=lambda one: -one.strength.value),
        pairs=pairs,
        agreement=_agreements(first, seed),
        judges=_judges(judgments),
        log_tie=found.log_tie,
        groups=[[names[n] for n in group] for group in connected_groups(whole, len(names))],
    )


def _estimate(value: float, interval: Iterable[float]) -> Estimate:
    low, high = interval
    return Estimate(float(value), float(low), float(high))


def _outcomes(first: Sequence[Judgment], names: list[str], images: list[str]) -> np.ndarray:
    """Return how often each image's pair ended with a, b, equal (I, P, 3)."""
    number_of = {pair: number for number, pair in enumerate(pairs_of(len(names)))}
    system_of = {name: number for number, name in enumerate(names)}
    image_of = {image: number for number, image in enumerate(images)}
    outcomes = np.zeros((len(images), len(number_of), 3))
    for one in first:
        a, b = sorted((one.system_a, one.system_b))
        outcome = {a: 0, b: 1}.get(one.choice, 2)
        pair = number_of[system_of[a], system_of[b]]
        outcomes[image_of[one.image], pair, outcome] += 1
    return outcomes


def _record(whole: np.ndarray, systems: int, number: int) -> tuple[int, int, int]:
    """Return wins, ties and losses of a system."""
    wins = ties = losses = 0
    for pair, (a, b) in enumerate(pairs_of(systems)):
        if number in (a, b):
            own, other = (0, 1) if number == a else (1, 0)
            wins += int(whole[pair, own])
            losses += int(whole[pair, other])
            ties += int(whole[pair, 2])
    return wins, ties, losses


def _rated(one: Judgment) -> Iterable[tuple[str, str, int]]:
    """Yield system, what is rated, and the rating."""
    for what in RATED:
        for side, name in (("a", one.system_a), ("b", one.system_b)):
            value = getattr(one, f"{what}_{side}")
            if value is not None:
                yield name, what, value


def _ratings(
    first: Sequence[Judgment], names: list[str], images: list[str], seed: int
) -> dict[str, dict[str, Estimate]]:
    """Return the mean ratings of each system, with intervals over images."""
    image_of = {image: number for number, image in enumerate(images)}
    sums: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros((len(images), 2)))
    for one in first:
        for name, what, value in _rated(one):
            sums[name, what][image_of[one.image]] += (value, 1)
    statistics = {
        f"{name}\0{what}": Statistic(table, "ratio") for (name, what), table in sums.items()
    }
    bounds = intervals(statistics, seed=seed)
    found: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    for (name, what), table in sums.items():
        total, count = table.sum(0)
        found[name][what] = _estimate(total / count, bounds[f"{name}\0{what}"])
    return found


def _agreements(first: Sequence[Judgment], seed: int) -> list[Agreement]:
    choices = [
        (one.judge, (one.image, *sorted((one.system_a, one.system_b))), _choice(one))
        for one in first
    ]
    found = [_agreement("choice", "nominal", choices, seed)]
    for what in RATED:
        rated = [
            (one.judge, (one.image, *sorted((one.system_a, one.system_b)), name), float(value))
            for one in first
            for name, rated_what, value in _rated(one)
            if rated_what == what
        ]
        if rated:
            found.append(_agreement(what, "ordinal", rated, seed))
    return found


def _choice(one: Judgment) -> float:
    """Return a number for what was chosen, the same whichever system stands first."""
    if one.choice == EQUAL:
        return 2.0
    return float(one.choice == max(one.system_a, one.system_b))


def _agreement(
    what: str, level: Level, rated: Sequence[tuple[str, Hashable, float]], seed: int
) -> Agreement:
    by_unit: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for judge, unit, value in rated:
        by_unit[unit][judge] = value
    # alpha does not ask who gave which rating, so that a row is not a judge
    most = max(map(len, by_unit.values()))
    if most * len(by_unit) > MOST_CELLS:
        raise UserError(f"{most:,} judges of one pair are too many to analyze")
    table = np.full((most, len(by_unit)), np.nan)
    for number, ratings in enumerate(by_unit.values()):
        table[: len(ratings), number] = list(ratings.values())
    alpha = krippendorff_alpha(table, level)
    shared = int(((~np.isnan(table)).sum(0) >= 2).sum())
    return Agreement(what, level, Estimate(alpha, *alpha_interval(table, level, seed=seed)), shared)


def _judges(judgments: Sequence[Judgment]) -> list[JudgeResult]:
    by_judge: dict[str, list[Judgment]] = defaultdict(list)
    by_pair: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for one in judgments:
        by_judge[one.judge].append(one)
        if not one.repeat:
            by_pair[_pair(one)][one.judge] = _choice(one)
    votes = {pair: Counter(choices.values()) for pair, choices in by_pair.items()}
    return [_judge(judge, own, by_pair, votes) for judge, own in sorted(by_judge.items())]


def _pair(one: Judgment) -> Hashable:
    return (one.image, *sorted((one.system_a, one.system_b)))


def _judge(
    judge: str,
    own: Sequence[Judgment],
    by_pair: dict[Hashable, dict[str, float]],
    votes: dict[Hashable, Counter[float]],
) -> JudgeResult:
    first = [one for one in own if not one.repeat]
    repeated = [one for one in own if one.repeat and judge in by_pair[_pair(one)]]
    sided = [one for one in own if one.left and one.choice != EQUAL]
    shared = [votes[_pair(one)] for one in first]
    others = sum(sum(counts.values()) - 1 for counts in shared)
    agreeing = sum(counts[by_pair[_pair(one)][judge]] - 1
                   for one, counts in zip(first, shared, strict=True))  # fmt: skip
    times = [one.seconds for one in own if one.seconds is not None]
    return JudgeResult(
        judge=judge,
        judgments=len(first),
        equal=_share(first, lambda one: one.choice == EQUAL),
        repeats=len(repeated),
        consistent=_share(repeated, lambda one: _choice(one) == by_pair[_pair(one)][judge]),
        left=_share(sided, lambda one: one.choice == one.left),
        agreement=agreeing / others if others else None,
        seconds=median(times) if times else None,
    )


def _share(judgments: Sequence[Judgment], holds: Callable[[Judgment], bool]) -> float | None:
    return sum(map(holds, judgments)) / len(judgments) if judgments else None
