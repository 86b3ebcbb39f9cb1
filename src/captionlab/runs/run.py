"""A run, read back from its folder: its settings, how far it came, what it scored."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from captionlab.config.references import resolve_references
from captionlab.core.addresses import require_local
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.renamed import rename_targets
from captionlab.metrics.statistics_file import STATISTICS, StatisticsFile
from captionlab.runs.run_files import read_captions, read_results, read_yaml
from captionlab.training.loggers.table import flatten, read_table

CONFIG, RESULTS, CAPTIONS = "config.yaml", "results.json", "captions.json"
# where a run lies and what it resumed are no settings of the experiment
OUTPUT, RESUMED = "output_dir", "ckpt"
# where a run was logged, and which sweep it belongs to, neither
NO_SETTINGS = ("logger", "job")


@dataclass(frozen=True, repr=False)
class Run:
    """A run folder: what was asked for, how far it came, what it scored.

    ``config`` is flat (``{"model.decoder.hidden": 192}``). ``curves`` holds each logged value's
    (epoch, value) pairs. ``scores``: ``val/...`` of the best epoch, ``test/...`` of the end.
    ``best_epoch``: that of the best checkpoint, counted from 0; None where it is not known.
    ``results``: the scores of the end alone. ``data``: what its results.json tells of the data that
    it read, unchecked.
    """

    path: Path
    config: MutableConfig
    scores: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    finished: bool
    best_epoch: int | None = None
    data: dict[str, object] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        cider = next((f", {k} {v:.3f}" for k, v in self.results.items() if "cider" in k), "")
        return f"Run({str(self.path)!r}, {self.epochs} epochs{cider})"

    @property
    def metrics(self) -> list[dict[str, float]]:
        """What was logged, one row an epoch: ``{"epoch": 0, "train/loss": 4.1, ...}``."""
        rows: dict[int, dict[str, float]] = {}
        for name, points in self.curves.items():
            for epoch, value in points:
                rows.setdefault(epoch, {"epoch": epoch})[name] = value
        return [rows[epoch] for epoch in sorted(rows)]

    @property
    def best_checkpoint(self) -> Path | None:
        """The checkpoint of the best epoch; None for a run that left none."""
        return self._existing("checkpoints", "best.ckpt")

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint of the last epoch; None for a run that left none."""
        return self._existing("checkpoints", "last.ckpt")

    @property
    def gallery(self) -> Path | None:
        """The page of pictures and captions; None for a run that left none."""
        return self._existing("gallery.html")

    def _existing(self, *names: str) -> Path | None:
        path = self.path.joinpath(*names)
        return path if path.exists() else None

    @property
    def epochs(self) -> int:
        """How many epochs were validated."""
        return len(self.curves.get("val/loss", self.curves.get("train/loss", [])))

    @property
    def max_epochs(self) -> int | None:
        """How many epochs were asked for."""
        return self.config.get("trainer.max_epochs")

    @property
    def seconds(self) -> float | None:
        """How long the epochs took, their validation included; None for runs that do not tell."""
        seconds = [value for _, value in self.curves.get("train/seconds", [])]
        return sum(seconds) if seconds else None

    @cached_property
    def per_image(self) -> StatisticsFile | None:
        """What its test scores are made of, where the run left it."""
        path = self.path / STATISTICS
        return StatisticsFile(path) if path.exists() else None

    def captions(self) -> dict[int | str, str]:
        """Return the captions of the test split by image."""
        return read_captions(self.path / CAPTIONS)


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Return the runs in these folders, and in the folders below them (a sweep).

    Raises:
        UserError: if a path is no folder, or there is no run below it.
    """
    runs: dict[Path, Run] = {}
    for given in paths:
        require_local(given)
        path = Path(given)
        if not path.is_dir():
            parent = path.parent if path.parent.is_dir() else Path()
            near = [str(one) for one in parent.iterdir() if one.is_dir()]
            raise UserError(f"There is no folder {path}; {did_you_mean(str(path), near)}")
        folders = sorted(_run_folders(path))
        if not folders:
            raise UserError(
                f"{path} holds no run: a run folder has a {CONFIG}, such as runs/DATE/TIME-MODEL"
            )
        for folder in folders:
            runs.setdefault(folder.resolve(), read_run(folder))
    return list(runs.values())


def _run_folders(path: Path) -> Iterator[Path]:
    for config in path.rglob(CONFIG):
        # what a library or an evaluation left in a folder of a run is no run
        if not any(part.startswith(".") for part in config.relative_to(path).parts):
            yield config.parent


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Return one run.

    Raises:
        UserError: if the folder holds none, or one of its files is damaged.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} holds no run: there is no {CONFIG} in it")
    config = _comparable(flatten(read_config(folder)), folder)
    curves = _read_curves(folder / "metrics.csv")
    best = _best_epoch(curves, config)
    scores = {
        name: value
        for name, points in curves.items()
        if name.startswith("val/")
        for epoch, value in points
        if epoch == best
    }
    finished = (folder / RESULTS).exists()
    left = read_results(folder / RESULTS)
    results = _numbers(left)
    data = left.get("data")
    return Run(
        path=folder,
        config=config,
        scores={**scores, **results},
        curves=curves,
        finished=finished,
        best_epoch=best if best >= 0 else None,
        data=data if isinstance(data, dict) else {},
        results=results,
    )


def _comparable(config: dict[str, object], folder: Path) -> dict[str, object]:
    """Return flat settings without what tells where the run lies, and what it resumed."""
    config.pop(RESUMED, None)
    # paths into the run's own folder, wherever it lay then, are the same for all runs
    name = re.escape(Path(str(config.pop(OUTPUT, folder))).name)
    own_folder = re.compile(rf"^(?:.*/)?{name}(?=/|$)")
    return {k: own_folder.sub(".", v) if isinstance(v, str) else v for k, v in config.items()}


def _read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return each logged value's (epoch, value) pairs."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch, row in sorted(read_table(path).items()):
        for name, value in _numbers(row).items():
            if name not in ("epoch", "step"):
                curves.setdefault(name, []).append((epoch, value))
    return curves


def read_config(folder: Path) -> dict[str, object]:
    """Return the settings of a run, its references resolved, without its loggers and its sweep.

    Raises:
        UserError: if they cannot be read.
    """
    path = folder / CONFIG
    config = rename_targets(read_yaml(path))
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no settings")
    settings = {name: node for name, node in config.items() if name not in NO_SETTINGS}
    return resolve_references(settings, str(path))


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be averaged and drawn; a loss that became nan or infinite is left out."""
    numbers = {}
    for name, value in row.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            numbers[name] = number
    return numbers


def _best_epoch(curves: Mapping[str, list[tuple[int, float]]], config: Mapping[str, object]) -> int:
    """Return the epoch whose checkpoint is the best one."""
    monitor = config.get("callbacks.best.monitor", "val/cider")
    sign = -1 if config.get("callbacks.best.mode") == "min" else 1
    points = curves.get(str(monitor))
    if not points:
        points, sign = curves.get("val/cider") or [(-1, 0.0)], 1
    return max(points, key=lambda point: sign * point[1])[0]
