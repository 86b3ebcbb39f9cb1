"""Trains the same captioner further with every objective, from one start a seed; resumable.

    python experiments/objectives/study.py [--out runs/objectives] [--jobs 2]

For each seed one default run (cross-entropy) is the start; its encoder's memory is stored, and each
objective goes on from its weights with the same budget. At the end report.py writes table and figure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from running import extract, train_all  # noqa: E402

SEEDS = (1, 2, 3)
EPOCHS = 2
OBJECTIVES: dict[str, list[str]] = {
    "longer": ["objective=cross_entropy"],
    "scst_greedy": ["objective=self_critical", "objective.baseline=greedy"],
    "scst_leave_one_out": ["objective=self_critical"],
    "scst_moving_average": ["objective=self_critical", "objective.baseline=moving_average"],
    "scst_truth": ["objective=self_critical", "objective/reward=truth"],
    "scst_and_likelihood": ["objective=self_critical", "objective.likelihood=1.0"],
}


def main() -> None:
    """Run what is not there yet, then score every run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/objectives", type=Path)
    parser.add_argument("--jobs", default=2, type=int, help="runs at a time, one core each")
    known = parser.parse_args()
    known.out = known.out.resolve()
    starts = {seed: known.out / f"start-{seed}" for seed in SEEDS}
    train_all([(folder, [f"seed={seed}"]) for seed, folder in starts.items()], known.jobs)
    jobs = []
    for seed, start in starts.items():
        weights = start / "checkpoints" / "best.ckpt"
        store = known.out / f"features-{seed}"
        frozen = [f"model.encoder.weights={weights}", "model.encoder.trainable=none"]
        extract(store, frozen)
        shared = [
            *frozen,
            f"init_from={weights}",
            f"data.features={store}",
            f"seed={seed}",
            f"trainer.max_epochs={EPOCHS}",
            "optimizer.lr=2e-4",
            "scheduler=constant",
            "callbacks.gallery=null",
        ]
        for name, own in OBJECTIVES.items():
            jobs.append((known.out / f"{name}-{seed}", [*own, *shared]))
    train_all(jobs, known.jobs)
    subprocess.run([sys.executable, str(HERE / "report.py"), str(known.out)], check=True)


if __name__ == "__main__":
    main()
