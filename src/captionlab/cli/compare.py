"""Compare: runs side by side in a table, as CSV, and on one page."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from captionlab.core.files import require_file_place
from captionlab.evaluation.report import write_text
from captionlab.metrics.bootstrap import Difference
from captionlab.metrics.score_table import score_info
from captionlab.runs.comparison import (
    Group,
    companion_metrics,
    distinguishing_keys,
    format_value,
    full_metric_name,
    group_runs,
    paired_difference,
    rank_groups,
    setting_titles,
)
from captionlab.runs.run import Run, read_runs


def compare(
    paths: Sequence[str],
    *,
    by: str = "cider",
    over: Sequence[str] = ("seed",),
    page: str | None = None,
    table: str | None = None,
    trust: Sequence[str] = (),
) -> int:
    """Print runs, the best one first; return the status.

    Args:
        paths: run folders, or folders of them.
        by: the score that orders them, of the test split where it stands there.
        over: settings that runs of one row may differ in: mean and spread are over them.
        page: an HTML file to write. table: a CSV file to write.
        trust: classes, or packages of your own, that read the runs' data for the page's pictures.
    """
    for file, option in ((table, "--csv "), (page, "--html ")):
        if file:
            require_file_place(file, option, new_folder=True)
    runs = read_runs(paths)
    metric = full_metric_name(by, runs)
    groups = rank_groups(group_runs(runs, over), metric)
    gaps = [
        None if group is groups[0] else paired_difference(group, groups[0], metric)
        for group in groups
    ]
    # files first: they must be there whatever becomes of the terminal
    if table:
        write_text(Path(table), as_csv(groups, metric, gaps))
    if page:
        # here, because pictures need the data, and that Lightning
        from captionlab.runs.comparison_page import write_page

        write_page(Path(page), groups, metric, gaps, trust)
    show(groups, metric, gaps)
    for file in filter(None, (table, page)):
        print(f"written    {file}")
    return 0


def show(groups: Sequence[Group], metric: str, gaps: Sequence[Difference | None]) -> None:
    """Print the table on the terminal."""
    runs = [run for group in groups for run in group.runs]
    keys = setting_titles(distinguishing_keys(groups))
    more = companion_metrics(groups, metric)
    several = any(len(group.runs) > 1 for group in groups)
    table = Table(title=f"{len(runs)} runs by {metric}", caption=legend(gaps, several))
    table.add_column("")
    for title in keys.values() or ["run"]:
        table.add_column(title, overflow="fold")
    table.add_column(metric, justify="right")
    table.add_column("against the best", justify="right")
    for name in more:
        table.add_column(name.partition("/")[2], justify="right")
    table.add_column("epochs", justify="right")
    if several:
        table.add_column("runs", justify="right")
    for place, (group, gap) in enumerate(zip(groups, gaps, strict=True)):
        best = place == 0 and group.mean(metric) is not None
        names = [escape(format_value(group.settings[key])) for key in keys] or [
            escape(str(group.runs[0].path))
        ]
        cells = ["*" if best else "", *names, number(group, metric), gap_cell(gap)]
        cells += [number(group, name) for name in more]
        cells.append(progress(group))
        if several:
            cells.append(str(len(group.runs)))
        table.add_row(*cells, style="bold" if best else None)
    # in a file or a pipe no terminal's width breaks the lines
    wide = None if sys.stdout.isatty() else Console(width=10_000).measure(table).maximum
    Console(width=wide).print(table)


def legend(gaps: Sequence[Difference | None], several: bool) -> str:
    """Return what the signs of the table mean, those that occur."""
    parts = ["*: the best"]
    if several:
        parts.append("±: standard deviation over runs")
    if any(gaps):
        parts.append("against the best: 95 % interval of the paired difference; ≈: may be noise")
    return "; ".join(parts)


def number(group: Group, metric: str) -> str:
    """Return mean and spread of a score."""
    mean, spread = group.mean(metric), group.spread(metric)
    if mean is None:
        return "-"
    digits = score_info(metric.partition("/")[2]).digits
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def gap_cell(gap: Difference | None) -> str:
    """Return a difference, its interval, and a sign where that holds zero."""
    if gap is None:
        return ""
    sign = "" if gap.certain else "≈ "
    return f"{sign}{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def progress(group: Group) -> str:
    """Return how far the runs have come."""
    done = min(run.epochs for run in group.runs)
    planned = group.runs[0].max_epochs
    unfinished = sum(not run.finished for run in group.runs)
    if not unfinished:
        return str(done)
    text = f"{done} of {planned}" if planned and planned > 0 else str(done)
    return f"{text}, {unfinished} unfinished" if len(group.runs) > 1 else f"{text}, unfinished"


def as_csv(groups: Sequence[Group], metric: str, gaps: Sequence[Difference | None]) -> str:
    """Return one line a run: all settings that differ, all scores, and its row's difference."""
    runs = [run for group in groups for run in group.runs]
    keys = sorted({k for r in runs for k in r.config if differs(k, runs)})
    scores = sorted({name for run in runs for name in run.scores})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    around = [f"{metric} against the best{end}" for end in ("", ", low", ", high")]
    writer.writerow(["run", "row", "finished", "epochs", "seconds", *keys, *scores, *around])
    for row, (group, gap) in enumerate(zip(groups, gaps, strict=True), 1):
        for run in group.runs:
            taken = "" if run.seconds is None else f"{run.seconds:.1f}"
            cells = [run.path, row, run.finished, run.epochs, taken]
            cells += [run.config.get(key, "") for key in keys]
            cells += [run.scores.get(name, "") for name in scores]
            cells += ["", "", ""] if gap is None else [gap.value, gap.low, gap.high]
            writer.writerow(cells)
    return buffer.getvalue()


def differs(key: str, runs: Sequence[Run]) -> bool:
    """Return whether runs have different values of a setting."""
    first = runs[0].config.get(key)
    return any(run.config.get(key) != first for run in runs)
