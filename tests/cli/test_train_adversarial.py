"""Runs in which a discriminator learns beside the captioner."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from commands_support import GAN, SMALL, run_train
from tests_support import HANG


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


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(checkpoint, weights_only=True)
    discriminator = stored["state_dict"].pop("objective._extra_state")["adversary"]
    return {**stored["state_dict"], **discriminator["network"]}


def test_a_stop_changes_nothing(start: Path, tmp_path: Path):
    """Weights of both sides, to the last bit: optimizers, schedules and random state go on."""
    kept = [*SMALL, *GAN, "test=false", "scheduler=constant"]
    first = [*kept, f"init_from={start}"]
    run_train(tmp_path, *first, "trainer.max_epochs=2", "hydra.run.dir=whole")
    run_train(tmp_path, *first, "trainer.max_epochs=1", "hydra.run.dir=half")
    half = tmp_path / "half/checkpoints/last.ckpt"
    run_train(tmp_path, *kept, f"ckpt={half}", "trainer.max_epochs=2", "hydra.run.dir=rest")
    expected = weights(tmp_path / "whole/checkpoints/last.ckpt")
    found = weights(tmp_path / "rest/checkpoints/last.ckpt")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize(
    "how",
    [
        ["trainer.precision=bf16-mixed", "objective.rollouts=1"],
        ["objective.loss=wgan", "objective/discriminator=set", "objective.rollouts=1"],
        ["objective.loss=hinge", "objective.estimator=gumbel", "objective.feature_matching=1.0"],
    ],
    ids=str,
)
def test_batches_that_are_gathered_are_one_step_of_both_sides(
    start: Path, tmp_path: Path, how: list[str]
):
    kept = [*SMALL, *GAN, "test=false", f"init_from={start}", "trainer.max_epochs=1"]
    gathered = ["trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=0.5"]
    run_train(tmp_path, *kept, *gathered, *how, "hydra.run.dir=run")
    last = tmp_path / "run/checkpoints/last.ckpt"
    assert steps_of_the_discriminator(last) == 4
    assert all(torch.isfinite(value).all() for value in weights(last).values())
    with (tmp_path / "run/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    for name in ("adversarial/entropy", "adversarial/d_gradient_norm", "gradient_norm"):
        assert float(row[f"train/{name}"]) > 0


def test_captions_that_become_noise_have_collapsed_too(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = [*SMALL, *GAN, "test=false", f"init_from={start}", "trainer.max_epochs=9"]
    spoil = ["optimizer.lr=1.0", "trainer.gradient_clip_val=null", "callbacks.collapse.stop=true"]
    run_train(tmp_path, *kept, *spoil, "scheduler=constant", "hydra.run.dir=run")
    said = capsys.readouterr().out
    assert "have collapsed" in said
    assert "val/cider is" in said
    assert len(list(csv.DictReader((tmp_path / "run/metrics.csv").open()))) < 9


def test_a_run_that_draws_no_captions_cannot_watch_them(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = [*SMALL, *GAN, "samples=0", f"init_from={start}", "hydra.run.dir=run"]
    with pytest.raises(SystemExit) as stop:
        run_train(tmp_path, *kept)
    assert stop.value.code == 2
    assert "samples=5" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_one_discriminator(start: Path, tmp_path: Path):
    more = ["trainer.devices=2", "test=false", "trainer.max_epochs=1", f"init_from={start}"]
    small = [o for o in SMALL if not o.startswith(("trainer.devices", "trainer.max_epochs"))]
    train = str(Path(__file__).parents[2] / "train.py")
    done = subprocess.run(
        [sys.executable, train, *small, *GAN, *more, "hydra.run.dir=run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps_of_the_discriminator(tmp_path / "run/checkpoints/last.ckpt") == 8


def test_the_second_stage_of_a_run_may_be_adversarial(tmp_path: Path):
    staged = ["objective=staged", "objective@objective.then=adversarial"]
    settings = ["objective.switch_epoch=1", "objective.then.warm_up_steps=2", "test=false"]
    run_train(tmp_path, *SMALL, *staged, *settings, "hydra.run.dir=run")
    stored = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert stored["state_dict"]["objective.then._extra_state"]["adversary"]["steps"] == 8
    with (tmp_path / "run/metrics.csv").open() as file:
        _, second = csv.DictReader(file)
    assert float(second["train/adversarial/d_loss"]) > 0


@pytest.mark.parametrize("discriminator", ["cnn", "set"])
def test_other_discriminators_and_gumbel_train(start: Path, tmp_path: Path, discriminator: str):
    more = [f"objective/discriminator={discriminator}", "objective.estimator=gumbel", "test=false"]
    kept = [*SMALL, *GAN, *more, f"init_from={start}", "trainer.max_epochs=1"]
    run_train(tmp_path, *kept, "hydra.run.dir=run")
    with (tmp_path / "run/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["train/adversarial/d_loss"]) > 0
