"""Times of several sides that do the same work, in turns, so that a busy machine hits all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

SHORTEST = 0.02  # seconds of a sample: shorter runs are repeated


@dataclass(frozen=True)
class Sample:
    """Seconds of one run: of this process's CPU, and of the clock on the wall."""

    cpu: float
    wall: float


Side = Callable[[], Sample]


class Timed:
    """A side of this process: the mean of as many runs as make a sample.

    ``overhead`` is run as well, and its time taken off; ``cpu`` tells the seconds of CPU so far.
    """

    def __init__(
        self,
        run: Callable[[], object],
        device: str = "cpu",
        overhead: Callable[[], object] | None = None,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self.run = run
        self.device = device
        self.overhead = overhead
        self.cpu = cpu
        self.runs = 1

    def __call__(self) -> Sample:
        """Return the seconds of one run."""
        whole = self._time(self.run)
        if whole.wall * self.runs < SHORTEST:
            self.runs = max(self.runs, math.ceil(SHORTEST / max(whole.wall, 1e-6)))
        if self.overhead is None:
            return whole
        part = self._time(self.overhead)
        return Sample(whole.cpu - part.cpu, whole.wall - part.wall)

    def _time(self, run: Callable[[], object]) -> Sample:
        self._wait()
        cpu, wall = self.cpu(), time.perf_counter()
        for _ in range(self.runs):
            run()
        self._wait()
        cpu, wall = self.cpu() - cpu, time.perf_counter() - wall
        return Sample(cpu / self.runs, wall / self.runs)

    def _wait(self) -> None:
        if torch.device(self.device).type == "cuda":
            torch.cuda.synchronize()


def in_turns(sides: Mapping[str, Side], *, seconds: float, rounds: int) -> dict[str, list[Sample]]:
    """Return each side's samples, a round each, after one or two rounds that are not counted.

    At least three rounds are counted, and at most ``rounds``; no further one, nor a second that is
    not counted, is begun after ``seconds``.
    """
    start = time.perf_counter()
    for _ in range(2):
        if time.perf_counter() - start <= seconds:
            for side in sides.values():
                side()
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - start > seconds:
            break
        for name, side in sides.items():
            samples[name].append(side())
    return samples


def median(samples: list[Sample], clock: str) -> float:
    """Return the median seconds by ``clock``, cpu or wall."""
    return statistics.median(getattr(sample, clock) for sample in samples)


def ratio(over: list[Sample], under: list[Sample], clock: str) -> float:
    """Return the median of the ratios of two sides' seconds, pair by pair."""
    pairs = zip(over, under, strict=True)
    return statistics.median(getattr(a, clock) / max(getattr(b, clock), 1e-9) for a, b in pairs)
