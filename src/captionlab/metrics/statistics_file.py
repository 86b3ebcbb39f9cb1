"""The scores of every image of a split in one file, so that runs are compared without scoring again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from captionlab.core.array_files import ArrayArchive
from captionlab.core.errors import UserError
from captionlab.core.files import replacing
from captionlab.metrics.bootstrap import WIDTHS, Statistic
from captionlab.metrics.references import ImageId

STATISTICS = "statistics.npz"  # its name in a run folder
ABOUT = "about"  # the entry that holds ids, kinds and shifts


def write_statistics(
    path: Path, image_ids: Sequence[ImageId], statistics: Mapping[str, Statistic]
) -> None:
    """Write what each score is made of (I,S), an array a score, for images in this order."""
    about = {
        "image_ids": list(image_ids),
        "kinds": {name: one.kind for name, one in statistics.items()},
        "shifts": {name: one.shift for name, one in statistics.items() if one.shift},
    }
    arrays = {name: one.values for name, one in statistics.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        # which words a caption holds is a large, nearly empty table
        np.savez_compressed(file, **{ABOUT: np.array(json.dumps(about))}, **arrays)  # type: ignore[arg-type]


class StatisticsFile:
    """What ``write_statistics`` wrote: ``image_ids``, and each score read when it is asked for.

    Raises:
        UserError: if the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._arrays = ArrayArchive(path, str(path))
            about = json.loads(str(self._arrays[ABOUT]))
            self.image_ids: list[ImageId] = about["image_ids"]
            self._kinds, self._shifts = about["kinds"], about["shifts"]
            _require_types(self.image_ids, self._kinds, self._shifts)
        except UnknownKindError as unknown:
            raise UserError(f"{path}: {unknown}") from None
        except (UserError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise self._damaged() from error

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def __getitem__(self, name: str) -> Statistic:
        try:
            values = self._arrays[name]
        except (UserError, LookupError) as error:
            raise self._damaged() from error
        width = WIDTHS[self._kinds[name]]
        width = width or (values.shape[-1] if values.ndim else 0)
        fits = values.shape == (len(self.image_ids), width) and values.dtype.kind in "bfiu"
        if not fits or not np.isfinite(values).all():
            raise self._damaged()
        return Statistic(values, self._kinds[name], self._shifts.get(name, 0.0))

    def _damaged(self) -> UserError:
        return UserError(f"{self.path} is damaged: delete it, or evaluate the run again")


class UnknownKindError(ValueError):
    """A statistic of a kind that another version of captionlab may know."""


def _require_types(ids: object, kinds: object, shifts: object) -> None:
    """Raise ValueError unless ids, kinds and shifts are what ``write_statistics`` writes."""
    if not isinstance(ids, list) or not all(type(one) in (int, str) for one in ids):
        raise ValueError("image_ids")
    if not isinstance(kinds, dict) or not all(isinstance(one, str) for one in kinds.values()):
        raise ValueError("kinds")
    for name, kind in kinds.items():
        if kind not in WIDTHS:
            raise UnknownKindError(
                f"the statistic of {name!r:.60} is of kind {kind!r:.60}, which this captionlab does not "
                f"know ({', '.join(WIDTHS)}): use the version that wrote it, or evaluate the run again"
            )
    if not isinstance(shifts, dict) or not all(
        type(one) in (int, float) for one in shifts.values()
    ):
        raise ValueError("shifts")
