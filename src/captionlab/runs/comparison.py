"""What several runs say together: read from their folders, grouped over seeds, compared in pairs."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from captionlab.core.addresses import require_local
from captionlab.core.renamed import rename_targets
from captionlab.runs.run_files import read_captions, read_results, read_yaml
from captionlab.config.references import resolve_references
from captionlab.core.errors import UserError, did_you_mean
from captionlab.metrics.bootstrap import Difference, Statistic, difference
from captionlab.metrics.statistics_file import STATISTICS, StatisticsFile
from captionlab.training.loggers.table import LOWER_IS_BETTER, flatten, read_table

CONFIG, RESULTS, CAPTIONS = "config.yaml", "results.json", "captions.json"
# where a run lies and what it resumed are no settings of the experiment
OUTPUT, RESUMED = "output_dir", "ckpt"
SEED = "seed"
BESIDE = ("cider", "bleu_4", "meteor", "truth", "div_2", "loss")  # what stands beside a metric


@dataclass(frozen=True)
class Run:
    """A run folder: what was asked for, how far it came, what it scored.

    ``config`` is flat (``{"model.decoder.hidden": 192}``). ``curves`` holds each logged value's
    (epoch, value) pairs. ``scores``: ``val/...`` of the best epoch, ``test/...`` of the end.
    ``best``: the epoch of the best checkpoint, counted from 0; None where it is not known.
    ``data``: what its results.json tells of the data that it read, unchecked.
    """

    path: Path
    config: dict[str, Any]
    scores: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    finished: bool
    best: int | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """How many epochs were validated."""
        return len(self.curves.get("val/loss", self.curves.get("train/loss", [])))

    @property
    def planned(self) -> int | None:
        """How many epochs were asked for."""
        return self.config.get("trainer.max_epochs")

    @property
    def seconds(self) -> float | None:
        """How long the epochs took, their validation included; None for runs that do not tell."""
        taken = [value for _, value in self.curves.get("train/seconds", [])]
        return sum(taken) if taken else None

    @cached_property
    def per_image(self) -> StatisticsFile | None:
        """What its test scores are made of, where the run left it."""
        path = self.path / STATISTICS
        return StatisticsFile(path) if path.exists() else None

    def captions(self) -> dict[int | str, str]:
        """Return the captions of the test split by image."""
        return read_captions(self.path / CAPTIONS)


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but what is averaged over: the seed, as a rule."""

    runs: list[Run]
    settings: dict[str, Any] = field(default_factory=dict)  # what tells it from the other groups

    def values(self, metric: str) -> list[float]:
        """Return the runs' values of a metric, those that have it."""
        return [run.scores[metric] for run in self.runs if metric in run.scores]

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric, None where no run has it."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def spread(self, metric: str) -> float | None:
        """Return the standard deviation over runs, None for fewer than two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def parts(self, metric: str) -> list[Statistic]:
        """Return what the runs' values are made of, image by image, those that tell."""
        name = metric.partition("/")[2]
        found = [run.per_image for run in self.runs]
        return [file[name] for file in found if file is not None and name in file]


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Return the runs in these folders, and in the folders below them (a sweep).

    Raises:
        UserError: if a path is no folder, or there is no run below it.
    """
    found: dict[Path, Run] = {}
    for given in paths:
        require_local(given)
        path = Path(given)
        if not path.is_dir():
            beside = path.parent if path.parent.is_dir() else Path()
            near = [str(one) for one in beside.iterdir() if one.is_dir()]
            raise UserError(f"There is no folder {path}; {did_you_mean(str(path), near)}")
        here = sorted(_folders(path))
        if not here:
            raise UserError(
                f"{path} holds no run: a run folder has a {CONFIG}, such as runs/DATE/TIME-MODEL"
            )
        for folder in here:
            found.setdefault(folder.resolve(), read_run(folder))
    return list(found.values())


def _folders(path: Path) -> Iterator[Path]:
    for config in path.rglob(CONFIG):
        # what a library or an evaluation left in a folder of a run is no run
        if not any(part.startswith(".") for part in config.relative_to(path).parts):
            yield config.parent


def read_run(folder: Path) -> Run:
    """Return one run.

    Raises:
        UserError: if one of its files is damaged.
    """
    flat = flatten(read_config(folder))
    flat.pop(RESUMED, None)
    # paths into the run's own folder, wherever it lay then, are the same for all runs
    name = re.escape(Path(str(flat.pop(OUTPUT, folder))).name)
    own = re.compile(rf"^(?:.*/)?{name}(?=/|$)")
    flat = {k: own.sub(".", v) if isinstance(v, str) else v for k, v in flat.items()}
    table = read_table(folder / "metrics.csv")
    curves: dict[str, list[tuple[int, float]]] = {}
    for epoch, row in sorted(table.items()):
        for name, value in _numbers(row).items():
            if name not in ("epoch", "step"):
                curves.setdefault(name, []).append((epoch, value))
    best = _best_epoch(curves, flat)
    scores = {
        name: value
        for name, points in curves.items()
        if name.startswith("val/")
        for epoch, value in points
        if epoch == best
    }
    finished = (folder / RESULTS).exists()
    results = read_results(folder / RESULTS)
    scores |= _numbers(results)
    data = results.get("data")
    return Run(
        folder,
        flat,
        scores,
        curves,
        finished,
        best if best >= 0 else None,
        data if isinstance(data, dict) else {},
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a run, its references resolved, without its loggers.

    Raises:
        UserError: if they cannot be read.
    """
    path = folder / CONFIG
    config = rename_targets(read_yaml(path))
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no settings")
    # where a run was logged, and which sweep it belongs to, are no settings of it
    config.pop("logger", None)
    config.pop("job", None)
    return resolve_references(config, str(path))


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be averaged and drawn; a loss that became nan or infinite is left out."""
    found = {}
    for name, value in row.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            found[name] = number
    return found


def _best_epoch(curves: Mapping[str, list[tuple[int, float]]], config: Mapping[str, Any]) -> int:
    """Return the epoch whose checkpoint is the best one."""
    monitor = config.get("callbacks.best.monitor", "val/cider")
    sign = -1 if config.get("callbacks.best.mode") == "min" else 1
    points = curves.get(str(monitor))
    if not points:
        points, sign = curves.get("val/cider") or [(-1, 0.0)], 1
    return max(points, key=lambda point: sign * point[1])[0]


def grouped(runs: Sequence[Run], over: Sequence[str] = (SEED,)) -> list[Group]:
    """Return runs whose settings are the same but for ``over`` together, each with what tells it apart.

    Raises:
        UserError: if no run has such a key.
    """
    known = {key for run in runs for key in run.config}
    for key in over:
        if key not in known:
            raise UserError(f"--over {key}: no run has such a setting; {did_you_mean(key, known)}")
    together: dict[str, list[Run]] = {}
    for run in runs:
        own = {key: value for key, value in run.config.items() if key not in over}
        together.setdefault(json.dumps(own, sort_keys=True, default=str), []).append(run)
    groups = list(together.values())
    differing = _differing([group[0].config for group in groups], over)
    return [Group(group, {key: group[0].config.get(key) for key in differing}) for group in groups]


def _differing(configs: Sequence[Mapping[str, Any]], over: Sequence[str]) -> list[str]:
    """Return the settings that not all have in common, those that people name first."""
    keys = {key for config in configs for key in config} - set(over)

    def value(config: Mapping[str, Any], key: str) -> str:
        return json.dumps(config.get(key), default=str)

    differ = [key for key in keys if len({value(config, key) for config in configs}) > 1]

    def order(key: str) -> tuple[int, int, str]:
        last = key.rpartition(".")[2]
        kind = 0 if last == "name" else 1 if last == "_target_" else 2
        return kind, key.count("."), key

    return sorted(differ, key=order)


def telling(groups: Sequence[Group]) -> list[str]:
    """Return the fewest first settings that tell the groups apart.

    ``model.name`` says what a hundred settings of the model say again.
    """
    chosen: list[str] = []
    parts = 1
    for key in groups[0].settings if groups else []:
        tried = {
            tuple(json.dumps(group.settings[k], default=str) for k in (*chosen, key))
            for group in groups
        }
        if len(tried) > parts:
            chosen.append(key)
            parts = len(tried)
    return chosen


def titled(keys: Sequence[str]) -> dict[str, str]:
    """Return each setting's title for people: its last word where that is clear."""
    whole = {key: re.sub(r"\.(name|_target_)$", "", key) for key in keys}
    last = {key: title.rpartition(".")[2] for key, title in whole.items()}
    clear = [title for title, count in Counter(last.values()).items() if count == 1]
    return {
        key: last[key] if last[key] in clear and last[key] not in BESIDE else whole[key]
        for key in keys
    }


def said(value: Any) -> str:
    """Return a setting's value as people read it: of a class its name alone."""
    if value is None:
        return "-"
    if isinstance(value, str) and value.startswith("captionlab."):
        return value.rpartition(".")[2]
    return f"{value:g}" if isinstance(value, float) else str(value)


def full_name(metric: str, runs: Sequence[Run]) -> str:
    """Return a metric's name with its split: test where a run has it, or else val.

    Raises:
        UserError: if no run has it.
    """
    known = {name for run in runs for name in run.scores}
    for name in (metric, f"test/{metric}", f"val/{metric}"):
        if name in known:
            return name
    short = {name.partition("/")[2] for name in known} | known
    if not known:
        raise UserError("no run has a score yet: compare them after their first validation")
    raise UserError(f"--by {metric}: no run has such a score; {did_you_mean(metric, short)}")


def beside(groups: Sequence[Group], metric: str, *, every: bool = False) -> list[str]:
    """Return the scores of the metric's split that stand beside it: the usual ones first, or alone."""
    split = metric.partition("/")[0]
    known = {name for group in groups for run in group.runs for name in run.scores}
    usual = [f"{split}/{name}" for name in BESIDE]
    rest = sorted(n for n in known - set(usual) if n.startswith(f"{split}/")) if every else []
    return [name for name in (*usual, *rest) if name in known and name != metric]


def is_lower_better(metric: str) -> bool:
    """Return whether less of this score is better."""
    return metric.partition("/")[2] in LOWER_IS_BETTER


def ranked(groups: Sequence[Group], metric: str) -> list[Group]:
    """Return the groups, the best one first, those without the score last."""
    sign = 1 if is_lower_better(metric) else -1

    def order(group: Group) -> tuple[bool, float]:
        mean = group.mean(metric)
        return mean is None, sign * (mean or 0.0)

    return sorted(groups, key=order)


def paired(group: Group, other: Group, metric: str) -> Difference | None:
    """Return how far ``group`` is from ``other``; None where their images cannot be paired."""
    if not metric.startswith("test/"):
        return None
    files = [run.per_image for run in (*group.runs, *other.runs)]
    ids = [file.image_ids for file in files if file is not None]
    ours, theirs = group.parts(metric), other.parts(metric)
    if not ours or not theirs or any(one != ids[0] for one in ids):
        return None
    return difference(ours, theirs)
