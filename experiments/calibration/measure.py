"""Measures how sure checkpoints are of their captions, and draws risk against coverage.

    python experiments/calibration/measure.py shapes=CKPT questions=CKPT photos=CKPT

Each is fitted on val and reported on test, and on test_unseen where the data have it. Writes
results.json and curves.png here and prints the tables; no picture of the data is in any of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from captionlab.cli.calibrate import FITTED_ON, judge
from captionlab.cli.evaluate import configure
from captionlab.evaluation.confidence import JudgedCaptions, abstention_table, reliability_report
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.metrics.calibration import Calibration
from captionlab.metrics.reliability import (
    area_under_risk_coverage,
    expected_calibration_error,
    reliability_table,
    risk_coverage,
)

HERE = Path(__file__).parent
RESAMPLES = 1000
POINTS = 100  # of a curve


def main() -> None:
    """Measure every checkpoint that is named."""
    results = {}
    for argument in sys.argv[1:]:
        name, _, path = argument.partition("=")
        results[name] = measure(path)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results)
    print(table(results))


def measure(path: str) -> dict:
    """Return what is known of one checkpoint: its calibration, and the report of each split."""
    stored = read_checkpoint(path)
    config = configure(stored, [], [])
    splits = [FITTED_ON, "test"]
    if stored.config["data"]["name"].startswith("shapes"):
        splits.append("test_unseen")
    _, criterion, judged = judge(stored, config, splits, device="cpu")
    val = judged[FITTED_ON]
    fitted = Calibration.fit(val.log_probs, val.lengths, val.right)
    return {
        "right": str(criterion),
        "proxy": criterion.is_proxy,
        "feature": fitted.feature,
        "temperature": fitted.temperature,
        "bias": fitted.bias,
        "length_weight": fitted.length_weight,
        "decoding": config["decoding"]["_target_"].rpartition(".")[2],
        "splits": {split: report(fitted, judged[split]) for split in splits[1:]},
    }


def report(fitted: Calibration, judged: JudgedCaptions) -> dict:
    """Return a split's numbers, their intervals and curves."""
    chances = fitted.probabilities(judged.log_probs, judged.lengths)
    raw = judged.uncalibrated()
    right = judged.right
    coverage, risk = risk_coverage(chances, right)
    points = np.unique(np.linspace(0, len(risk) - 1, POINTS).round().astype(int))
    return {
        **reliability_report(fitted, judged),
        "intervals": {
            "ece": interval(expected_calibration_error, chances, right),
            "ece_caption": interval(expected_calibration_error, raw["caption"], right),
            "ece_words": interval(expected_calibration_error, raw["words"], right),
            "aurc": interval(area_under_risk_coverage, chances, right),
        },
        "abstention": abstention_table(fitted, judged),
        "reliability": [vars(one) for one in reliability_table(chances, right, bins=10)],
        "reliability_words": [vars(one) for one in reliability_table(raw["words"], right, bins=10)],
        "coverage": coverage[points].round(4).tolist(),
        "risk": risk[points].round(4).tolist(),
    }


def interval(score: Callable[..., float], chances: np.ndarray, right: np.ndarray) -> list[float]:
    """Return the 95 % percentile interval of a score over captions drawn with replacement."""
    random = np.random.default_rng(0)
    values = []
    for _ in range(RESAMPLES):
        drawn = random.integers(len(right), size=len(right))
        values.append(score(chances[drawn], right[drawn]))
    return [round(float(one), 4) for one in np.percentile(values, (2.5, 97.5))]


def table(results: dict) -> str:
    """Return the tables in Markdown."""
    lines = [
        "| checkpoint, split | captions | right | ECE, caption's probability | ECE, its words' mean "
        "| ECE, calibrated | adaptive bins | AURC (by chance, at best) | right of the surest 50 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        for split, row in one["splits"].items():
            low, high = row["intervals"]["ece"]
            area = row["intervals"]["aurc"]
            lines.append(
                f"| {name}, {split} | {row['captions']:,} | {row['right']:.1%} "
                f"| {row['ece_caption']:.3f} | {row['ece_words']:.3f} "
                f"| **{row['ece']:.3f}** ({low:.3f} to {high:.3f}) | {row['ece_adaptive']:.3f} "
                f"| {row['aurc']:.3f}, {area[0]:.3f} to {area[1]:.3f} ({row['aurc_random']:.3f}, "
                f"{row['aurc_perfect']:.3f}) | {row['right_at_0.5']:.1%} |"
            )
    lines += [
        "",
        "| checkpoint, split | --abstain | answered | right of these |",
        "|---|---|---|---|",
    ]
    for name, one in results.items():
        for split, row in one["splits"].items():
            for step in row["abstention"]:
                share = "" if step["right"] is None else f"{step['right']:.1%}"
                lines.append(
                    f"| {name}, {split} | {step['abstain']:g} | {step['answered']:.1%} | {share} |"
                )
    return "\n".join(lines) + "\n"


def draw(results: dict) -> None:
    """Draw risk against coverage, and chance against share of right ones."""
    figure, (risks, reliable) = plt.subplots(1, 2, figsize=(9.6, 3.8), constrained_layout=True)
    styles = {"test": "-", "test_unseen": "--"}
    for color, (name, one) in zip(("C0", "C2", "C1"), results.items(), strict=False):
        for split, row in one["splits"].items():
            label = f"{name} {split}" + (" (proxy)" if one["proxy"] else "")
            risks.plot(row["coverage"], row["risk"], styles[split], color=color, label=label)
            bins = [one for one in row["reliability"] if one["count"] >= 5]
            places = [one["probability"] for one in bins]
            reliable.plot(
                places,
                [one["accuracy"] for one in bins],
                styles[split],
                marker="o",
                color=color,
                label=label,
            )
    risks.set(
        xlabel="coverage: share that is answered", ylabel="risk: share of these that is wrong"
    )
    risks.set(xlim=(0, 1), ylim=(0, None))
    reliable.plot((0, 1), (0, 1), color="gray", linewidth=1)
    reliable.set(xlabel="calibrated chance", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    risks.legend(fontsize=8)
    figure.savefig(HERE / "curves.png", dpi=110)


if __name__ == "__main__":
    main()
