"""Scores must not depend on the number of processes."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = str(Path(__file__).parents[2] / "train.py")
# 7 validation images do not divide by two: a padded sampler would count one of them twice
COMMON = [
    "data.source.train_size=64",
    "data.source.val_size=7",
    "data.source.test_size=7",
    "data.tokenizer.threshold=2",
    "data.batch_size=4",
    "model.encoder.image_size=32",
    "model.decoder.hidden=16",
    "model.decoder.embedding=16",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "optimizer.lr=1e-12",  # the same weights on 1 and on 2 processes, whatever they saw
    "scheduler=constant",
    "meteor=false",
]


def run(folder: Path, devices: int) -> tuple[dict[str, str], dict[str, float], list[dict]]:
    done = subprocess.run(
        [
            sys.executable,
            TRAIN,
            *COMMON,
            f"trainer.devices={devices}",
            f"hydra.run.dir=run{devices}",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / f"run{devices}" / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    results = json.loads((folder / f"run{devices}" / "results.json").read_text())
    return row, results, json.loads((folder / f"run{devices}" / "captions.json").read_text())


@pytest.mark.slow
def test_two_processes_score_exactly_like_one(tmp_path: Path):
    one, two = run(tmp_path, 1), run(tmp_path, 2)
    # BatchNorm's running statistics follow the data that a process saw; weights do not
    for name in ("val/bleu_1", "val/rouge_l", "val/cider"):
        assert name in one[0]
    assert len(two[2]) == len(one[2]) == 7
    assert [row["image_id"] for row in one[2]] == [row["image_id"] for row in two[2]]
