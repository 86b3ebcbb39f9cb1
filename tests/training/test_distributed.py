"""Scores must not depend on the number of processes."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")
# 7 validation images do not divide by two: a padded sampler would count one of them twice
SMALL = [
    "data.source.train_size=64",
    "data.source.val_size=7",
    "data.source.test_size=8",
    "data.tokenizer.threshold=2",
    "data.batch_size=4",
    "model.encoder.image_size=32",
    "model.decoder.hidden=16",
    "model.decoder.embedding=16",
    "model/tags=default",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "optimizer.lr=1e-2",
    "meteor=false",
]


def command(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("average", ["none", "ema"])
def test_two_processes_score_exactly_like_one(average: str, tmp_path: Path):
    kept = [*SMALL, f"callbacks/average={average}"]
    command(tmp_path, TRAIN, *kept, "trainer.devices=2", "hydra.run.dir=run")
    last = str(tmp_path / "run" / "checkpoints" / "last.ckpt")
    for split in ("val", "test"):
        for devices in (1, 2):
            # a batch of 5 is 3 images on each of two processes, and never ends where the split does
            overrides = [f"split={split}", f"trainer.devices={devices}", "data.batch_size=5"]
            overrides.append("trainer.accelerator=cpu")
            out = ["--out", f"{split}-by-{devices}"]
            command(tmp_path, "-m", "captionlab.cli.main", "evaluate", last, *overrides, *out)
        results = same_scores(tmp_path, split)
        if split == "val":
            with (tmp_path / "run" / "metrics.csv").open() as file:
                logged = list(csv.DictReader(file))[-1]
            for name, value in results.items():
                assert float(logged[name]) == pytest.approx(value, abs=1e-6), name


def same_scores(folder: Path, split: str) -> dict[str, float]:
    """Compare what one process and two have written; return the scores."""
    one, two = (folder / f"{split}-by-{devices}" for devices in (1, 2))
    said = json.loads((two / "captions.json").read_text())
    assert len({entry["image_id"] for entry in said}) == len(said) == (7 if split == "val" else 8)
    assert (one / "captions.json").read_text() == (two / "captions.json").read_text()
    results = json.loads((one / "results.json").read_text())
    again = json.loads((two / "results.json").read_text())
    # the loss is a sum of float32 values, whose last bits depend on the batch they came in
    loss = f"{split}/loss"
    assert again.pop(loss) == pytest.approx(results[loss], abs=1e-6)
    intervals, twice = results.pop("intervals"), again.pop("intervals")
    assert intervals.keys() == twice.keys()
    for name, interval in intervals.items():
        assert twice[name] == pytest.approx(interval, abs=1e-6), name
    assert again == {name: value for name, value in results.items() if name != loss}
    results.pop("settings")
    return results
