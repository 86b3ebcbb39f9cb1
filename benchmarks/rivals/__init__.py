"""The other side of a work, written as the rival computes it, at equal sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from measuring.work import Work


@dataclass(frozen=True)
class Rival:
    """A rival's side: its name, what is timed, its parameters, and whether its work equals ours."""

    name: str
    run: Callable[[], object]
    parameters: int
    equal_work: bool = True


def rival_of(work: Work) -> Rival | None:
    """Return the rival of a work, None where there is none."""
    return None
