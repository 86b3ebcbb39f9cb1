"""Several runs together: grouped over seeds, ranked, compared in pairs."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captionlab.core.errors import UserError, did_you_mean
from captionlab.metrics.bootstrap import Difference, Statistic, difference
from captionlab.metrics.score_table import score_info
from captionlab.runs.run import Run

SEED = "seed"
COMPANIONS = ("cider", "bleu_4", "meteor", "truth", "div_2", "loss")  # shown beside any metric


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but what is averaged over: the seed, as a rule."""

    runs: list[Run]
    settings: dict[str, object] = field(default_factory=dict)  # what tells it from the other groups

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

    def per_image(self, metric: str) -> list[Statistic]:
        """Return what the runs' values are made of, image by image, for runs that left it."""
        name = metric.partition("/")[2]
        files = [run.per_image for run in self.runs]
        return [file[name] for file in files if file is not None and name in file]


def group_runs(runs: Sequence[Run], over: Sequence[str] = (SEED,)) -> list[Group]:
    """Return groups of the runs whose settings are the same but for ``over``.

    Raises:
        UserError: if no run has such a key.
    """
    known = {key for run in runs for key in run.config}
    for key in over:
        if key not in known:
            raise UserError(f"--over {key}: no run has such a setting; {did_you_mean(key, known)}")
    by_settings: dict[str, list[Run]] = {}
    for run in runs:
        settings = {key: value for key, value in run.config.items() if key not in over}
        by_settings.setdefault(json.dumps(settings, sort_keys=True, default=str), []).append(run)
    groups = list(by_settings.values())
    keys = _differing_keys([group[0].config for group in groups], over)
    return [Group(group, {key: group[0].config.get(key) for key in keys}) for group in groups]


def _differing_keys(configs: Sequence[Mapping[str, object]], over: Sequence[str]) -> list[str]:
    """Return the settings that not all have in common, those that people name first."""
    keys = {key for config in configs for key in config} - set(over)

    def value(config: Mapping[str, object], key: str) -> str:
        return json.dumps(config.get(key), default=str)

    differ = [key for key in keys if len({value(config, key) for config in configs}) > 1]

    def order(key: str) -> tuple[int, int, str]:
        last = key.rpartition(".")[2]
        kind = 0 if last == "name" else 1 if last == "_target_" else 2
        return kind, key.count("."), key

    return sorted(differ, key=order)


def distinguishing_keys(groups: Sequence[Group]) -> list[str]:
    """Return the fewest first settings that distinguish the groups.

    ``model.name`` says what a hundred settings of the model say again.
    """
    chosen: list[str] = []
    num_distinct = 1
    for key in groups[0].settings if groups else []:
        distinct = {
            tuple(json.dumps(group.settings[k], default=str) for k in (*chosen, key))
            for group in groups
        }
        if len(distinct) > num_distinct:
            chosen.append(key)
            num_distinct = len(distinct)
    return chosen


def setting_titles(keys: Sequence[str]) -> dict[str, str]:
    """Return each setting's title for people: its last word where that is unique."""
    long = {key: re.sub(r"\.(name|_target_)$", "", key) for key in keys}
    short = {key: title.rpartition(".")[2] for key, title in long.items()}
    unique = [title for title, count in Counter(short.values()).items() if count == 1]
    return {
        key: short[key] if short[key] in unique and short[key] not in COMPANIONS else long[key]
        for key in keys
    }


def format_value(value: object) -> str:
    """Return a setting's value as people read it: of a class its name alone."""
    if value is None:
        return "-"
    if isinstance(value, str) and value.startswith("captionlab."):
        return value.rpartition(".")[2]
    return f"{value:g}" if isinstance(value, float) else str(value)


def full_metric_name(metric: str, runs: Sequence[Run]) -> str:
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


def companion_metrics(
    groups: Sequence[Group], metric: str, *, all_of_split: bool = False
) -> list[str]:
    """Return the scores of the metric's split to show beside it: ``COMPANIONS``, then all others."""
    split = metric.partition("/")[0]
    known = {name for group in groups for run in group.runs for name in run.scores}
    first = [f"{split}/{name}" for name in COMPANIONS]
    others = sorted(n for n in known - set(first) if n.startswith(f"{split}/"))
    names = (*first, *others) if all_of_split else first
    return [name for name in names if name in known and name != metric]


def is_lower_better(metric: str) -> bool:
    """Return whether less of this score is better."""
    return score_info(metric.partition("/")[2]).lower_is_better


def rank_groups(groups: Sequence[Group], metric: str) -> list[Group]:
    """Return the groups, the best one first, those without the score last."""
    sign = 1 if is_lower_better(metric) else -1

    def order(group: Group) -> tuple[bool, float]:
        mean = group.mean(metric)
        return mean is None, sign * (mean or 0.0)

    return sorted(groups, key=order)


def paired_difference(group: Group, other: Group, metric: str) -> Difference | None:
    """Return how far ``group`` is from ``other``; None where their images cannot be paired."""
    if not metric.startswith("test/"):
        return None
    files = [run.per_image for run in (*group.runs, *other.runs)]
    image_ids = [file.image_ids for file in files if file is not None]
    first, second = group.per_image(metric), other.per_image(metric)
    if not first or not second or any(ids != image_ids[0] for ids in image_ids):
        return None
    return difference(first, second)
