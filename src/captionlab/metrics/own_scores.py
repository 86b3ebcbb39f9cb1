"""Scores that a data set brings along, of each caption by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from captionlab.metrics.bootstrap import Statistic
from captionlab.metrics.references import ImageId


@dataclass(frozen=True)
class OwnScores:
    """Scores of captions that only their source can give, beside truth.

    ``names``: of all of them. ``score``: (image id, caption) -> each score by name, None or no entry
    where it says nothing of this caption. The corpus' score is the mean over the captions that have
    one, and is left out where none has.
    """

    names: tuple[str, ...]
    score: Callable[[ImageId, str], Mapping[str, float | None]]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        score: Callable[[ImageId, str], Mapping[str, float | None]],
    ) -> Self | None:
        """Return the scores of a data set, None for one that brings none."""
        return cls(tuple(names), score) if names else None

    def rows(self, ids: Sequence[ImageId], captions: Sequence[str]) -> list[dict[str, float]]:
        """Return the scores that each caption has."""
        scored = (self.score(i, text) for i, text in zip(ids, captions, strict=True))
        return [
            {n: float(value) for n in self.names if (value := one.get(n)) is not None}
            for one in scored
        ]

    def statistics(self, rows: Sequence[Mapping[str, float]]) -> dict[str, Statistic]:
        """Return sums and numbers of captions (images, 2) of each score that a caption has."""
        return {
            name: Statistic(
                np.array([(row.get(name, 0.0), name in row) for row in rows], dtype=np.float64),
                "ratio",
            )
            for name in self.names
            if any(name in row for row in rows)
        }
