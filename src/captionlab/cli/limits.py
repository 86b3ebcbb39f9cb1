"""Bounds of settings whose own libraries notice a wrong one late, or never."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from captionlab.core.config_types import Config
from captionlab.core.errors import UserError


@dataclass(frozen=True)
class Limit:
    """The numbers that a setting may have: from ``low`` to ``high``, and those of ``also``.

    ``above``: ``low`` itself is none of them. ``share``: a float stands for a share, from 0 to 1.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    also: tuple[float, ...] = ()
    share: bool = False

    def allows(self, value: float) -> bool:
        """Return whether a setting may have this value."""
        if value in self.also:
            return True
        high = 1.0 if self.share and isinstance(value, float) else self.high
        return (self.low < value if self.above else self.low <= value) and value <= high

    def __str__(self) -> str:
        words = f"{'above' if self.above else 'at least'} {self.low:g}"
        if self.high != math.inf:
            words += f" and at most {self.high:g}"
        if self.share:
            words += ", as a share (0.5) at most 1.0"
        also = "".join(f", or {value:g}" for value in self.also)
        return f"must be {words}{also}"


# By the key, of which * stands for one name. Values of captionlab's own classes are checked by them.
LIMITS: Mapping[str, Limit] = {
    "seed": Limit(0, 2**32 - 1),
    "samples": Limit(0, 1_000),
    "examples": Limit(0),
    "optimizer.lr": Limit(0, 1_000, above=True),
    "optimizer.weight_decay": Limit(0, 1_000),
    "optimizer.momentum": Limit(0, 1),
    "optimizer.eps": Limit(0, 1),
    "optimizer.alpha": Limit(0, 1),
    "model.encoder.learning_rate": Limit(0, 1_000, above=True),
    "trainer.max_epochs": Limit(1, also=(-1,)),
    "trainer.min_epochs": Limit(0),
    "trainer.max_steps": Limit(1, also=(-1,)),
    "trainer.min_steps": Limit(0),
    "trainer.num_nodes": Limit(1),
    "trainer.gradient_clip_val": Limit(0),
    "trainer.accumulate_grad_batches": Limit(1),
    "trainer.check_val_every_n_epoch": Limit(1),
    "trainer.val_check_interval": Limit(0, above=True, share=True),
    "trainer.limit_train_batches": Limit(0, above=True, share=True),
    "trainer.limit_val_batches": Limit(0, share=True),
    "trainer.limit_test_batches": Limit(0, above=True, share=True),
    "trainer.overfit_batches": Limit(0, share=True),
    "trainer.num_sanity_val_steps": Limit(0, also=(-1,)),
    "trainer.log_every_n_steps": Limit(1),
    "callbacks.*.patience": Limit(0),
    "callbacks.*.every_n_epochs": Limit(1),
    "callbacks.*.save_top_k": Limit(0, also=(-1,)),
    "callbacks.*.images": Limit(0, 10_000),
    "logger.*.images": Limit(0, 10_000),
}


def require_limits(config: Config) -> None:
    """Check the numbers of a resolved configuration.

    Raises:
        UserError: with all that are out of their bounds, or no finite numbers, one a line.
    """
    mistakes = [
        f"{key}={value!r} {mistake}"
        for key, value in _numbers(config)
        if (mistake := _mistake(key, value)) is not None
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))


def _mistake(key: str, value: float) -> str | None:
    if not math.isfinite(value):
        return "is no finite number."
    limit = LIMITS.get(key) or LIMITS.get(re.sub(r"^(\w+)\.\w+\.", r"\1.*.", key))
    return None if limit is None or limit.allows(value) else f"{limit}."


def _numbers(node: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _numbers(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _numbers(child, f"{key}[{index}]")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, node
