"""A value that moves in a straight line while training goes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """From ``start`` to ``end`` over the first ``epochs`` epochs, ``end`` from then on; 0: at once."""

    start: float
    end: float
    epochs: float

    def __call__(self, epoch: float) -> float:
        """Return the value after so many epochs."""
        done = min(1.0, epoch / self.epochs) if self.epochs else 1.0
        return self.start + (self.end - self.start) * done
