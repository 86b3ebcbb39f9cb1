"""The scores of every image of a split in one file, so that runs are compared without scoring again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from captionlab.errors import UserError
from captionlab.files import replacing
from captionlab.metrics.bootstrap import Statistic
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
            with np.load(path) as stored:
                about = json.loads(str(stored[ABOUT]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is damaged: delete it, or evaluate the run again") from error
        self.image_ids: list[ImageId] = about["image_ids"]
        self._kinds, self._shifts = about["kinds"], about["shifts"]

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def __getitem__(self, name: str) -> Statistic:
        with np.load(self.path) as stored:
            return Statistic(stored[name], self._kinds[name], self._shifts.get(name, 0.0))
