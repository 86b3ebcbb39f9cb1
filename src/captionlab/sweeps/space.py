"""The space of a search: the values that each setting may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from captionlab.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from optuna.trial import Trial

BOUNDS = ("low", "high", "log", "step")


class Range:
    """The values that a setting may take: ``choices``, or numbers within ``bounds``."""

    def __init__(self, choices: list[Any] | None, bounds: Mapping[str, Any]) -> None:
        self.choices, self.bounds = choices, bounds

    @classmethod
    def read(cls, key: str, value: object) -> Range:
        """Return the range that a configuration describes.

        Raises:
            UserError: if it describes none.
        """
        where = f"hydra.sweeper.space: {key}={value!r}"
        if isinstance(value, list) and len(value) > 1:
            return cls(value, {})
        if not isinstance(value, Mapping) or not {"low", "high"} <= value.keys():
            raise UserError(f"{where} is neither a list of choices nor {{low: ..., high: ...}}")
        for name in value:
            if name not in BOUNDS:
                raise UserError(
                    f"{where}: {name} is no part of a range; {did_you_mean(name, BOUNDS)}"
                )
        if not value["low"] < value["high"]:
            raise UserError(f"{where}: low must be below high")
        if value.get("log") and not value["low"] > 0:
            raise UserError(f"{where}: a logarithmic range needs a low above 0")
        return cls(None, value)

    def suggest(self, trial: Trial, key: str) -> object:
        """Return the value that an Optuna trial chooses."""
        if self.choices is not None:
            return trial.suggest_categorical(key, self.choices)
        low, high = self.bounds["low"], self.bounds["high"]
        options = {name: self.bounds[name] for name in ("log", "step") if self.bounds.get(name)}
        is_integer = all(isinstance(n, int) for n in (low, high, options.get("step", 1)))
        return (trial.suggest_int if is_integer else trial.suggest_float)(key, low, high, **options)


def read_space(space: Mapping[str, object], shared: Sequence[str]) -> dict[str, Range]:
    """Return the range of each key of a space; ``shared`` are the overrides of every trial.

    Raises:
        UserError: for a space that is empty or cannot be read, and for a key that is fixed as well.
    """
    if not space:
        raise UserError(
            "hydra.sweeper.space is empty: say sweep=attn_lstm or another of conf/sweep, or "
            "'+hydra.sweeper.space.optimizer\\.lr={low: 1e-4, high: 1e-2, log: true}'"
        )
    ranges = {key: Range.read(key, value) for key, value in space.items()}
    for one in shared:
        key = one.partition("=")[0].lstrip("+~")
        if key in ranges:
            raise UserError(
                f"{one} is given, and hydra.sweeper.space searches over {key}: leave one out"
            )
    return ranges


def params_as_overrides(params: Mapping[str, object]) -> list[str]:
    """Return the overrides of chosen values, floats with six digits: a run's name can be read."""
    return [
        f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in params.items()
    ]
