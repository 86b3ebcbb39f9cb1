"""Learning-rate schedules as one small class each: built from YAML, completed with the optimizer.

Each is called with the optimizer and the lengths of the run in steps, and returns what Lightning's
``configure_optimizers`` wants under ``lr_scheduler``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from pytorch_lightning.utilities.types import LRSchedulerConfigType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from captionlab.core.errors import UserError


class Schedule(Protocol):
    """Makes the learning rate's schedule for a run of known length."""

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return Lightning's ``lr_scheduler`` entry for a run of so many optimizer steps and epochs."""
        ...


def _per_step(optimizer: Optimizer, factor: Callable[[int], float]) -> LRSchedulerConfigType:
    return {"scheduler": LambdaLR(optimizer, factor), "interval": "step", "name": "lr"}


def _warm_up_steps(warm_up: float, steps: int) -> int:
    """Return the warm-up's length: a share of the run below 1, a number of steps from 1 on."""
    return round(warm_up * steps) if warm_up < 1 else round(warm_up)


def _ramp(step: int, warm_up: int) -> float:
    return min(1.0, (step + 1) / (warm_up + 1))


class CosineSchedule:
    """Linear warm-up, then half a cosine down to ``floor`` times the rate (Loshchilov, Hutter 2017).

    Args:
        warm_up: a share of the run (below 1) or a number of steps.
        floor: last rate, as a share of the first.
    """

    def __init__(self, *, warm_up: float = 0.05, floor: float = 0.01):
        _check_warm_up(warm_up)
        _check_floor(floor)
        self.warm_up, self.floor = warm_up, floor

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped every optimizer step."""
        warm_up = _warm_up_steps(self.warm_up, steps)

        def factor(step: int) -> float:
            if step < warm_up:
                return _ramp(step, warm_up)
            progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2

        return _per_step(optimizer, factor)


class StepSchedule:
    """Linear warm-up, then the rate times ``gamma`` every ``every`` epochs."""

    def __init__(self, *, warm_up: float = 0.0, every: int = 3, gamma: float = 0.8):
        _check_warm_up(warm_up)
        if every < 1:
            raise UserError(f"scheduler.every={every} must be at least 1 epoch.")
        self.warm_up, self.every, self.gamma = warm_up, every, gamma

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped every optimizer step."""
        warm_up = _warm_up_steps(self.warm_up, steps)
        per_epoch = max(1, steps // max(1, epochs))
        return _per_step(
            optimizer,
            lambda step: (
                _ramp(step, warm_up) * self.gamma ** (min(step // per_epoch, epochs) // self.every)
            ),
        )


class ConstantSchedule:
    """Linear warm-up, then a constant rate."""

    def __init__(self, *, warm_up: float = 0.0):
        _check_warm_up(warm_up)
        self.warm_up = warm_up

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped every optimizer step."""
        warm_up = _warm_up_steps(self.warm_up, steps)
        return _per_step(optimizer, lambda step: _ramp(step, warm_up))


class LinearSchedule:
    """Linear warm-up, then a straight line to ``floor`` times the rate at the end of the run."""

    def __init__(self, *, warm_up: float = 0.0, floor: float = 0.0):
        _check_warm_up(warm_up)
        _check_floor(floor)
        self.warm_up, self.floor = warm_up, floor

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped every optimizer step."""
        warm_up = _warm_up_steps(self.warm_up, steps)

        def factor(step: int) -> float:
            left = max(0.0, 1 - max(0, step - warm_up) / max(1, steps - warm_up))
            return _ramp(step, warm_up) * (self.floor + (1 - self.floor) * left)

        return _per_step(optimizer, factor)


class InverseSquareRootSchedule:
    """Linear warm-up to the rate, then the rate times sqrt(warm_up / step).

    Vaswani et al. 2017, equation 3: its peak, 1 / sqrt(width * warm_up), is the optimizer's rate.
    """

    def __init__(self, *, warm_up: float = 10_000):
        _check_warm_up(warm_up)
        self.warm_up = warm_up

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped every optimizer step."""
        warm_up = max(1, _warm_up_steps(self.warm_up, steps))

        def factor(step: int) -> float:
            return min((step + 1) / warm_up, math.sqrt(warm_up / (step + 1)))

        return _per_step(optimizer, factor)


class PlateauSchedule:
    """The rate times ``factor`` after ``patience`` epochs without a better ``monitor``."""

    def __init__(
        self,
        *,
        monitor: str = "val/cider",
        mode: str = "max",
        factor: float = 0.5,
        patience: int = 2,
        min_lr: float = 1e-6,
    ):
        if mode not in ("max", "min"):
            raise UserError(f"scheduler.mode={mode!r} must be 'max' or 'min'.")
        self.monitor, self.mode = monitor, mode
        self.factor, self.patience, self.min_lr = factor, patience, min_lr

    def __call__(self, optimizer: Optimizer, *, steps: int, epochs: int) -> LRSchedulerConfigType:
        """Return the schedule, stepped after each validation."""
        scheduler = ReduceLROnPlateau(
            optimizer,
            mode=self.mode,  # type: ignore[arg-type]
            factor=self.factor,
            patience=self.patience,
            min_lr=self.min_lr,
        )
        return {"scheduler": scheduler, "interval": "epoch", "monitor": self.monitor, "name": "lr"}


def _check_warm_up(warm_up: float) -> None:
    if warm_up < 0:
        raise UserError(
            f"scheduler.warm_up={warm_up} must be a share of the run (0 to 1) or a number of steps."
        )


def _check_floor(floor: float) -> None:
    if not 0 <= floor <= 1:
        raise UserError(f"scheduler.floor={floor} is not in [0, 1].")
