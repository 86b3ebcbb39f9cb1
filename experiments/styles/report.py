"""Scores by style of runs on data=shapes_styles, or of one on data=shapes, with 95 % intervals.

python experiments/styles/report.py RUN...
python experiments/styles/report.py          # without runs: the next image's captions
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from captionlab.data.readers import ShapesStyles
from captionlab.metrics.bootstrap import Statistic, intervals
from captionlab.metrics.statistics_file import STATISTICS, StatisticsFile
from captionlab.shapes.styles import STYLES

SCORES = ("truth", "style_obeyed", "fact_precision", "fact_recall", "length")


def groups(image_ids: list[int | str]) -> dict[str, np.ndarray]:
    """Return which captions are of each style (images,), by the ends of their ids."""
    styles = [str(i).partition(": ")[2] or "plain" for i in image_ids]
    return {style: np.array([one == style for one in styles]) for style in sorted(set(styles))}


def cell(statistic: Statistic | None) -> str:
    """Return a score with its interval; a dash where no caption has it."""
    if statistic is None or (statistic.kind == "ratio" and not statistic.values[:, 1].any()):
        return "-"
    low, high = intervals({"it": statistic})["it"]
    return f"{statistic.whole():.3f} ({low:.3f} to {high:.3f})"


def floor() -> None:
    """Print the scores that the written captions of each test image have on the image before."""
    source = ShapesStyles()
    records = source.records("test")
    print("| style | captions | truth | fact_precision | fact_recall |\n|---|---|---|---|---|")
    for style in STYLES:
        rows = []
        for record, other in pairwise(records):
            for prompt, text in zip(other.prompts, other.captions, strict=True):
                if prompt.style == style:
                    scores = source.caption_scores(record.image_id, text, prompt)
                    rows.append((source.truth(record.image_id, text), *list(scores.values())[1:]))
        means = ["-" if v[0] is None else f"{np.mean(v):.3f}" for v in zip(*rows, strict=True)]
        print(f"| {style} | {len(rows)} | {' | '.join(means)} |")


def main() -> None:
    """Print one table for all runs, or that of captions of other images."""
    if len(sys.argv) == 1:
        floor()
        return
    print(f"| run | style | captions | {' | '.join(SCORES)} |\n|{'---|' * (3 + len(SCORES))}")
    for run in sys.argv[1:]:
        file = StatisticsFile(Path(run) / STATISTICS)
        for style, rows in groups(file.image_ids).items():
            found = {name: file[name] for name in SCORES if name in file}
            part = {n: Statistic(one.values[rows], one.kind) for n, one in found.items()}
            cells = [cell(part.get(name)) for name in SCORES]
            print(f"| {Path(run).name} | {style} | {rows.sum()} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
