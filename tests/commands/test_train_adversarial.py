"""Runs in which a discriminator learns beside the captioner."""

import csv
from pathlib import Path

import pytest
import torch
from commands_support import SMALL, run_train

from captionlab import load_captioner

GAN = [
    "objective=adversarial",
    "objective.warm_up_steps=2",
    "objective.num_samples=2",
    "objective.discriminator.hidden=16",
    "data.captions_per_image=2",
]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    run_train(folder, *SMALL, "trainer.max_epochs=1", "test=false", "hydra.run.dir=run")
    return folder / "run/checkpoints/last.ckpt"


def steps_of_the_discriminator(checkpoint: Path) -> int:
    stored = torch.load(checkpoint, weights_only=True)
    return stored["state_dict"]["objective._extra_state"]["adversary"]["steps"]


def test_both_sides_learn_and_a_resumed_run_keeps_both(start: Path, tmp_path: Path):
    kept = [*SMALL, *GAN, "test=false"]
    run_train(tmp_path, *kept, f"init_from={start}", "trainer.max_epochs=1", "hydra.run.dir=run")
    last = tmp_path / "run/checkpoints/last.ckpt"
    assert steps_of_the_discriminator(last) == 8
    with (tmp_path / "run/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    for name in ("d_real", "d_fake", "d_mismatched", "d_loss", "lambda", "distinct_2", "reward"):
        assert float(row[f"train/adversarial/{name}"]) >= 0
    run_train(tmp_path, *kept, f"ckpt={last}", "trainer.max_epochs=2", "hydra.run.dir=again")
    assert steps_of_the_discriminator(tmp_path / "again/checkpoints/last.ckpt") == 16
    photo = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
    assert isinstance(load_captioner(tmp_path / "again/checkpoints/last.ckpt")(photo), str)


@pytest.mark.parametrize("discriminator", ["cnn", "set"])
def test_other_discriminators_and_gumbel_train(start: Path, tmp_path: Path, discriminator: str):
    more = [f"objective/discriminator={discriminator}", "objective.estimator=gumbel", "test=false"]
    kept = [*SMALL, *GAN, *more, f"init_from={start}", "trainer.max_epochs=1"]
    run_train(tmp_path, *kept, "hydra.run.dir=run")
    with (tmp_path / "run/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["train/adversarial/d_loss"]) > 0
