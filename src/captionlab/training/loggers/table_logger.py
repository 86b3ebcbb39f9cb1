"""metrics.csv: one row an epoch, every value of the epoch in it."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from captionlab.core.files import replacing
from captionlab.training.loggers.table import Row, read_table

FIRST_COLUMNS = ("epoch", "step")


class TableLogger(Logger):
    """Writes metrics.csv, whole each time and by renaming, so that a reader never sees half a row.

    Lightning's own CSV logger writes a sparse row for each call, and deletes the file of a run that
    is resumed into its folder; this one merges by epoch and keeps earlier rows.
    """

    def __init__(self, *, path: str):
        super().__init__()
        self._path = Path(path)
        self._rows: dict[int, Row] = {}
        self._read = False

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "table"

    @property
    def version(self) -> str:
        """Return an empty version: the run folder tells runs apart."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        """Return nothing: there is no object behind the table."""

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Leave hyper-parameters to config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Merge values into their epoch's row; a later value replaces an earlier one."""
        if not self._read:
            self._rows, self._read = read_table(self._path), True
        values = {name: value for name, value in metrics.items() if not name.startswith("test")}
        if not values.keys() - {"epoch"}:
            return  # a test split's scores are in results.json; here they would look like an epoch
        epoch = int(values.pop("epoch", max(self._rows, default=0)))
        self._rows.setdefault(epoch, {}).update({"step": step, **values})

    @rank_zero_only
    def save(self) -> None:
        """Write the table (Lightning calls this at the end of an epoch)."""
        if not self._rows:
            return
        names = sorted({n for row in self._rows.values() for n in row} - set(FIRST_COLUMNS))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(self._path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, [*FIRST_COLUMNS, *names])
            writer.writeheader()
            for epoch in sorted(self._rows):
                writer.writerow({"epoch": epoch, **self._rows[epoch]})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table at the end of a run, however it ended."""
        self.save()
