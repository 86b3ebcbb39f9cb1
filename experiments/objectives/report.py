"""Writes the study's table (table.md beside the runs) and, here, results and figure.

    python experiments/objectives/report.py RUNS [real]

Of each run it reads what ``captionlab evaluate`` wrote: scores/results.json (the caption that is
scored, and five drawn at temperature 1) and sharper/results.json (five drawn at temperature 0.5).
speed.py's speed.json holds what a step takes.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt

HERE = Path(__file__).parent


class Column(NamedTuple):
    """A score, the file it stands in, and how it is called and printed."""

    file: str
    score: str
    title: str
    digits: int


DIVERSITY = Column("scores", "div_2", "div-2", 3)
QUALITY = Column("scores", "average_cider", "mean CIDEr", 2)
SHARPER_DIVERSITY = Column("sharper", "div_2", "div-2, T = 0.5", 3)
SHARPER_QUALITY = Column("sharper", "average_cider", "mean CIDEr, T = 0.5", 2)
COLUMNS = [
    Column("scores", "cider", "CIDEr", 2),
    Column("scores", "truth", "truth", 3),
    Column("scores", "vocabulary", "words in use", 0),
    Column("scores", "novel", "novel", 2),
    DIVERSITY,
    Column("scores", "mbleu", "mBLEU", 3),
    QUALITY,
    SHARPER_DIVERSITY,
    SHARPER_QUALITY,
]
UNSEEN = "test_unseen/truth"


class Score(NamedTuple):
    """A score of one run, and its 95 % interval over images."""

    value: float
    low: float
    high: float


def main() -> None:
    """Read every finished run of the study."""
    out, suffix = Path(sys.argv[1]), "-real" if "real" in sys.argv[2:] else ""
    runs: dict[str, list[dict[Column, Score]]] = {}
    unseen: dict[str, list[float]] = {}
    for file in sorted(out.glob("*-[0-9]/sharper/results.json")):
        run = file.parent.parent
        name = run.name.rpartition("-")[0]
        runs.setdefault(name, []).append(read(run))
        whole = json.loads((run / "results.json").read_text())
        unseen.setdefault(name, []).extend([whole[UNSEEN]] if UNSEEN in whole else [])
    names = sorted(runs, key=lambda name: (name != "start", name != "longer", name))
    columns = [c for c in COLUMNS if c in runs["start"][0]]
    # photographs have no unseen pairs
    unseen = {name: mean for name, mean in unseen.items() if mean}
    # nor does a machine that is busy tell its speed
    speed = json.loads((out / "speed.json").read_text()) if (out / "speed.json").exists() else {}
    more = [*(["truth, unseen pairs"] if unseen else []), *(["seconds a step"] if speed else [])]
    titles = ["objective", *(c.title for c in columns), *more, "runs"]
    lines = [row(titles), "|---" * len(titles) + "|"]
    for name in names:
        cells = [cell([run[c] for run in runs[name]], runs["start"], c) for c in columns]
        cells += [f"{statistics.fmean(unseen[name]):.2f}"] if unseen else []
        cells += [f"{speed[name][0]:.2f}" if name in speed else ""] if speed else []
        lines.append(row([name, *cells, str(len(runs[name]))]))
    (out / "table.md").write_text("\n".join(lines) + "\n")
    kept: dict[str, Any] = {
        name: [{f"{c.file}/{c.score}": list(run[c]) for c in columns} for run in runs[name]]
        for name in names
    }
    if speed:
        kept["seconds_a_step"] = speed  # median and quartiles
    (HERE / f"results{suffix}.json").write_text(json.dumps(kept, indent=1) + "\n")
    draw({name: runs[name] for name in names}, HERE / f"objectives{suffix}.png")


def row(cells: list[str]) -> str:
    """Return a line of the table."""
    return f"| {' | '.join(cells)} |"


def read(run: Path) -> dict[Column, Score]:
    """Return the scores of a run."""
    found = {}
    for column in COLUMNS:
        results = json.loads((run / column.file / "results.json").read_text())
        name = f"test/{column.score}"
        if name in results:
            found[column] = Score(results[name], *results["intervals"][name])
    return found


def cell(scores: list[Score], start: list[dict[Column, Score]], column: Column) -> str:
    """Return mean ± deviation over the runs, with an arrow where no interval touches the start's."""
    values = [score.value for score in scores]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    text = f"{statistics.fmean(values):.{column.digits}f}"
    if len(values) > 1:
        text += f" ± {deviation:.{column.digits}f}"
    first = [run[column] for run in start]
    if min(score.low for score in scores) > max(score.high for score in first):
        return f"{text} ▲"
    if max(score.high for score in scores) < min(score.low for score in first):
        return f"{text} ▼"
    return text


def draw(runs: dict[str, list[dict[Column, Score]]], path: Path) -> None:
    """Draw quality against diversity of drawn captions, at two temperatures."""
    figure, axis = plt.subplots(figsize=(8.5, 5.5))
    colors = plt.get_cmap("tab20").colors
    points = [(DIVERSITY, QUALITY, "o"), (SHARPER_DIVERSITY, SHARPER_QUALITY, "D")]
    for (name, several), color in zip(runs.items(), colors, strict=False):
        means = []
        for x, y, marker in points:
            places = [[run[c].value for run in several] for c in (x, y)]
            axis.plot(*places, marker, color=color, alpha=0.35, markersize=4)
            means.append([statistics.fmean(place) for place in places])
        across, up = zip(*means, strict=True)
        axis.plot(across, up, "-", color=color, linewidth=2, label=name)
        axis.plot(across[0], up[0], "o", color=color, markersize=8)
        axis.plot(across[1], up[1], "D", color=color, markersize=7)
    axis.set_xlabel("div-2 of five drawn captions of a picture")
    axis.set_ylabel("their mean CIDEr")
    axis.set_title("Circles: drawn at temperature 1; diamonds: at 0.5", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
