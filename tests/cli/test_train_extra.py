"""A run that learns from two sources."""

import csv
from pathlib import Path

from commands_support import SMALL, run_train


def test_a_run_learns_from_both(tmp_path: Path):
    extra = ["data/extra=shapes", "data.extra.source.train_size=64", "data.extra.source.seed=3"]
    run_train(tmp_path, *SMALL, *extra, "data.extra.share=0.5", "hydra.run.dir=run")
    with (tmp_path / "run/metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    # 128 own images and as many others, 16 a step
    assert steps[-1] + 1 == 2 * 16
