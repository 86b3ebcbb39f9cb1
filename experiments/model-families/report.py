"""Writes the study's table (table.md beside the runs) and, here, results.json and families.png."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
SCORES = ("test/truth", "test_unseen/truth", "test/cider", "test/meteor")


def main() -> None:
    """Read every finished run of the study."""
    out = Path(sys.argv[1])
    families: dict[str, list[dict[str, float]]] = {}
    for file in sorted(out.glob("*-[0-9]/results.json")):
        preset = file.parent.name.rpartition("-")[0]
        families.setdefault(preset, []).append(json.loads(file.read_text()))
    speeds = json.loads((out / "speed.json").read_text())
    rows = sorted(families.items(), key=lambda row: -mean(row[1], "test_unseen/truth"))
    (out / "table.md").write_text(table(rows, speeds))
    kept = {name: [{s: run.get(s) for s in SCORES} for run in runs] for name, runs in rows}
    (HERE / "results.json").write_text(json.dumps({"scores": kept, "speed": speeds}, indent=1))
    draw(rows, speeds)


def table(rows: list, speeds: dict) -> str:
    """Return the table in Markdown: mean and spread (standard deviation) over the seeds."""
    lines = [
        "| model | truth | truth, unseen pairs | CIDEr | METEOR | decoder's parameters "
        "| captions/s in training | images/s, beam 5 | runs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in rows:
        cells = [spread(runs, score) for score in SCORES]
        speed = speeds.get(name, {})
        lines.append(
            f"| `{name}` | {' | '.join(cells)} | {speed.get('parameters', 0) / 1e6:.2f} M "
            f"| {speed.get('captions_a_second', 0):,.0f} | {speed.get('images_a_second', 0):,.0f} "
            f"| {len(runs)} |"
        )
    return "\n".join(lines) + "\n"


def mean(runs: list[dict[str, float]], score: str) -> float:
    """Return a score's mean over runs."""
    return statistics.fmean(run.get(score, float("nan")) for run in runs)


def spread(runs: list[dict[str, float]], score: str) -> str:
    """Return mean ± standard deviation, truth in percent."""
    values = [run.get(score, float("nan")) for run in runs]
    scale, digits = (100, 1) if "truth" in score else (1, 3)
    middle = statistics.fmean(values) * scale
    deviation = statistics.stdev(values) * scale if len(values) > 1 else 0.0
    return f"{middle:.{digits}f} ± {deviation:.{digits}f}"


def draw(rows: list, speeds: dict) -> None:
    """Draw truth on seen and unseen pairs, a line a preset, and what a training step costs."""
    names = [name for name, _ in rows][::-1]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, 0.42 * len(names) + 1.4), sharey=True, width_ratios=[2, 1]
    )
    for score, color, label in (
        ("test/truth", "#0072b2", "test"),
        ("test_unseen/truth", "#d55e00", "unseen pairs"),
    ):
        for place, name in enumerate(names):
            values = [100 * run[score] for run in dict(rows)[name]]
            label = label if not place else None
            dots = {"color": color, "alpha": 0.4, "markersize": 5, "label": label}
            left.plot(values, [place] * len(values), "o", **dots)
            left.plot(statistics.fmean(values), place, "|", color=color, markersize=16)
    left.set_yticks(range(len(names)), names)
    left.set_xlabel("captions of which every word is true, % (each dot a seed)")
    left.legend(loc="lower right", frameon=False)
    left.grid(axis="x", alpha=0.3)
    right.barh(
        range(len(names)),
        [speeds.get(n, {}).get("captions_a_second", 0) for n in names],
        color="#999999",
    )
    right.set_xlabel("captions/s in training")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "families.png", dpi=130)


if __name__ == "__main__":
    main()
