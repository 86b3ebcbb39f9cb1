"""Writes the study's table (table.md beside the runs) and, here, results.json and objectives.png."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
SCORES = {
    "test/cider": "CIDEr",
    "test/truth": "truth",
    "test_unseen/truth": "truth, unseen pairs",
    "test/div_2": "div-2",
    "test/mbleu": "mBLEU",
    "test/self_cider": "self-CIDEr",
    "test/oracle_cider": "oracle CIDEr of 5",
    "test/vocabulary": "words in use",
    "test/novel": "novel",
}


def main() -> None:
    """Read every finished run of the study."""
    out = Path(sys.argv[1])
    runs: dict[str, list[dict[str, float]]] = {}
    for file in sorted(out.glob("*-[0-9]/results.json")):
        runs.setdefault(file.parent.name.rpartition("-")[0], []).append(
            json.loads(file.read_text())
        )
    rows = sorted(runs.items(), key=lambda row: row[0] != "start")
    lines = [
        f"| objective | {' | '.join(SCORES.values())} | runs |",
        "|---" * (len(SCORES) + 2) + "|",
    ]
    for name, results in rows:
        cells = [spread(results, score) for score in SCORES]
        lines.append(f"| {name} | {' | '.join(cells)} | {len(results)} |")
    (out / "table.md").write_text("\n".join(lines) + "\n")
    kept = {name: [{s: run.get(s) for s in SCORES} for run in results] for name, results in rows}
    (HERE / "results.json").write_text(json.dumps(kept, indent=1))
    draw(rows)


def spread(runs: list[dict[str, float]], score: str) -> str:
    """Return mean ± standard deviation."""
    values = [run.get(score, float("nan")) for run in runs]
    digits = 0 if score.endswith("vocabulary") else 3 if "div" in score or "bleu" in score else 2
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


def draw(rows: list[tuple[str, list[dict[str, float]]]]) -> None:
    """Draw quality against diversity: CIDEr of the best caption, div-2 of five random ones."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for (name, runs), color in zip(rows, plt.get_cmap("tab10").colors, strict=False):
        x, y = [run["test/div_2"] for run in runs], [run["test/cider"] for run in runs]
        axis.plot(x, y, "o", color=color, alpha=0.7, label=name)
    axis.set_xlabel("div-2 of five random captions of a picture")
    axis.set_ylabel("CIDEr of the caption that is scored")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "objectives.png", dpi=130)


if __name__ == "__main__":
    main()
