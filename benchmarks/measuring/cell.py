"""One cell of the table: all sides of a work, measured in turns."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import Any

import torch
from rivals import rival_of

from measuring.clock import Sample, Side, Timed, in_turns, median, ratio
from measuring.floor import large_product, record
from measuring.ours import Operation, operation
from measuring.revision import CannotError, Revision
from measuring.work import Work


@dataclass
class Cell:
    """What was measured of a work: samples of each side by name, and what is to know of them.

    ``flop`` of the products of one run; ``large_flop`` of the large product that tells the machine's
    rate. ``same_captions``: how many of ours the other revision wrote too.
    """

    work: Work
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    rival: str = ""
    equal_work: bool = True
    flop: int = 0
    large_flop: int = 0
    words: float | None = None
    same_captions: str = ""
    notes: list[str] = field(default_factory=list)

    def rate(self, clock: str) -> float:
        """Return captions or images a second."""
        return self.work.items / median(self.samples["ours"], clock)

    def over(self, side: str, clock: str) -> float | None:
        """Return our time over a side's, None where it has none."""
        if side == "flop":
            return self._over_counted(clock)
        if side not in self.samples:
            return None
        return ratio(self.samples["ours"], self.samples[side], clock)

    def times_as_fast(self, side: str, clock: str) -> float | None:
        """Return a side's time over ours, None where it has none."""
        if side not in self.samples:
            return None
        return ratio(self.samples[side], self.samples["ours"], clock)

    def _over_counted(self, clock: str) -> float | None:
        times = self.over("large", clock)
        if times is None or not self.flop:
            return None
        return times * self.large_flop / self.flop

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values."""
        clocks = ("cpu", "wall")
        sides = {
            name: {clock: median(samples, clock) for clock in clocks}
            for name, samples in self.samples.items()
        }
        floors = {
            name: {clock: self.over(name, clock) for clock in clocks}
            for name in ("products", "flop")
        }
        faster = {
            name: {clock: self.times_as_fast(name, clock) for clock in clocks}
            for name in ("rival", "against")
        }
        return {
            "work": self.work.to_dict(),
            "rate": {clock: self.rate(clock) for clock in clocks},
            "unit": self.work.unit,
            "seconds": sides,
            "over_floor": floors,
            "times_as_fast": faster,
            "rounds": len(self.samples["ours"]),
            "parameters": self.parameters,
            "rival": self.rival,
            "equal_work": self.equal_work,
            "flop": self.flop,
            "words": self.words,
            "same_captions": self.same_captions,
            "notes": self.notes,
        }


def measure(
    work: Work, other: Revision | None, *, seconds: float, rounds: int, rival: bool, floor: bool
) -> Cell:
    """Return the measured cell of a work; what a side cannot do is a note, not an error."""
    cell = Cell(work)
    sides: dict[str, Side] = {}
    ours = operation(work)
    cell.parameters["ours"] = ours.parameters
    sides["ours"] = Timed(ours.run, work.device, ours.overhead, ours.cpu)
    captions = None
    if ours.captions is not None and (other is not None or work.realistic):
        captions = ours.captions()
        cell.words = sum(map(len, captions)) / len(captions)
    if floor and work.operation != "cold_start":
        _add_floor(cell, sides, ours)
    if rival:
        _add_rival(cell, sides)
    if other is not None:
        _add_revision(cell, sides, other, captions)
    gc.collect()
    cell.samples = in_turns(sides, seconds=seconds, rounds=rounds)
    return cell


def _add_floor(cell: Cell, sides: dict[str, Side], ours: Operation) -> None:
    ours.run()  # nothing that happens once is recorded
    products = record(ours.run)
    overhead = None if ours.overhead is None else record(ours.overhead)
    cell.flop = products.flop - (0 if overhead is None else overhead.flop)
    device = cell.work.device
    sides["products"] = Timed(
        products.replay, device, None if overhead is None else overhead.replay
    )
    run, cell.large_flop = large_product(getattr(torch, cell.work.dtype), device)
    sides["large"] = Timed(run, device)


def _add_rival(cell: Cell, sides: dict[str, Side]) -> None:
    rival = rival_of(cell.work)
    if rival is None:
        return
    cell.rival, cell.equal_work = rival.name, rival.equal_work
    cell.parameters["rival"] = rival.parameters
    sides["rival"] = Timed(rival.run, cell.work.device)


def _add_revision(
    cell: Cell, sides: dict[str, Side], other: Revision, captions: list[list[int]] | None
) -> None:
    try:
        about = other.prepare(cell.work)
    except CannotError as reason:
        cell.notes.append(f"against: {reason}")
        return
    cell.parameters["against"] = about["parameters"]
    if captions is not None:
        pairs = zip(captions, about["captions"], strict=True)
        same = sum(a == b for a, b in pairs)
        cell.same_captions = f"{same} of {len(captions)}"
    sides["against"] = other
