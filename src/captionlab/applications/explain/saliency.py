"""What explains a word: a method's map of the picture, and how much work it may be.

S pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from captionlab.applications.explain.curves import Curves
from captionlab.core.errors import UserError, did_you_mean

Method = Literal["attention", "occlusion", "integrated_gradients"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_MASKS, MOST_STEPS = 100_000, 1_000


@dataclass(frozen=True)
class Settings:
    """How much work it is: ``masks`` of occlusion, ``steps`` of gradients, ``batch`` at a time."""

    masks: int = 500
    steps: int = 50
    batch: int = 32
    seed: int = 0
    curves: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.masks <= MOST_MASKS:
            raise UserError(f"--masks {self.masks} must be from 2 to {MOST_MASKS:,}")
        if not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"--steps {self.steps} must be from 1 to {MOST_STEPS:,}")


@dataclass(frozen=True)
class Saliency:
    """What a method says a word rests on: a map (S,S), more is more important, below 0 speaks against it.

    ``remark``: what else is known of it. ``curves``: None where they were not asked for.
    """

    method: str
    map: Tensor
    remark: str = ""
    curves: Curves | None = None

    @property
    def peak(self) -> tuple[float, float]:
        """The most important point: x and y as shares of the picture."""
        rows, columns = self.map.shape
        place = int(self.map.flatten().argmax())
        return (place % columns + 0.5) / columns, (place // columns + 0.5) / rows


def chosen_methods(name: str) -> tuple[Method, ...]:
    """Return the methods of a name, ``all`` for every one.

    Raises:
        UserError: if it is none.
    """
    if name == "all":
        return METHODS
    for method in METHODS:
        if name == method:
            return (method,)
    raise UserError(f"--method {name}: {did_you_mean(name, (*METHODS, 'all'))}")
