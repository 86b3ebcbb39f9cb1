"""A run that is stopped anywhere and goes on ends with the bits of one that was not."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning_fabric.plugins import TorchCheckpointIO

from captionlab.training.callbacks.stopping import REQUEUE
from captionlab.training.loggers.table import read_table
from commands_support import GAN, SMALL, csv_data, run_train
from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")

# 8 steps an epoch
MANY = {
    "plain": [],
    "augmented": ["data/augment=standard", "data.augment.mixup=0.2", "data.num_workers=1"],
    "recurrent": ["model=att2in", "model/encoder=small_cnn", "model.decoder.dropout=0.3"],
    "hard attention": ["model=hard_attn", "model/encoder=small_cnn", "objective=hard_attention"],
    "scheduled": ["objective=scheduled_sampling"],
    "gathered": ["trainer.accumulate_grad_batches=2", "callbacks=early_stopping"],
}


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(checkpoint, weights_only=True)
    (optimizer,) = stored["optimizer_states"]
    moments = {
        f"optimizer {weight} {name}": value
        for weight, own in optimizer["state"].items()
        for name, value in own.items()
    }
    weights = {k: v for k, v in stored["state_dict"].items() if isinstance(v, torch.Tensor)}
    rate = torch.tensor(optimizer["param_groups"][0]["lr"])
    return {**weights, **moments, "rate": rate, "random": stored["random_state"][0]["cpu"]}


def assert_same(one: Path, other: Path) -> None:
    expected, found = state(one), state(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(k, marks=pytest.mark.slow) for k in MANY if k != "plain")]
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(kind: str, tmp_path: Path):
    kept = [*SMALL, *MANY[kind], "test=false"]
    run_train(tmp_path, *kept, "hydra.run.dir=whole")
    for batches in (3, 8, 13):
        stop = f"{{_target_: commands_support.StopAt, batches: {batches}}}"
        part, rest = f"part{batches}", f"rest{batches}"
        with pytest.raises(SystemExit):
            run_train(tmp_path, *kept, f"+callbacks.stop={stop}", f"hydra.run.dir={part}")
        last = tmp_path / part / "checkpoints/last.ckpt"
        run_train(tmp_path, *kept, f"ckpt={last}", f"hydra.run.dir={rest}")
        assert_same(
            tmp_path / "whole/checkpoints/last.ckpt", tmp_path / rest / "checkpoints/last.ckpt"
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [[], GAN, ["callbacks.last.every_n_train_steps=4"]],
    ids=["likelihood", "adversarial", "often"],
)
@pytest.mark.parametrize("where", ["step", "validation", "checkpoint"])
def test_a_killed_run_goes_on_from_its_last_checkpoint(
    where: str, objective: list[str], tmp_path: Path
):
    kept = [*SMALL, *objective, "trainer.max_epochs=3", "test=false", "scheduler=constant"]
    begin = []
    if objective == GAN:
        run_train(tmp_path, *SMALL, "trainer.max_epochs=1", "test=false", "hydra.run.dir=start")
        begin = ["init_from=start/checkpoints/last.ckpt"]
    run_train(tmp_path, *kept, *begin, "hydra.run.dir=whole")
    kill = f"+callbacks.stop={{_target_: commands_support.KillAt, where: {where}}}"
    done = subprocess.run(
        [sys.executable, TRAIN, *kept, *begin, kill, "hydra.run.dir=run"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    last = tmp_path / "run/checkpoints/last.ckpt"
    run_train(tmp_path, *kept, f"ckpt={last}", "hydra.run.dir=run")
    assert_same(tmp_path / "whole/checkpoints/last.ckpt", last)
    # the same epochs, each once, with the same scores
    whole, again = (read_table(tmp_path / name / "metrics.csv") for name in ("whole", "run"))
    assert again.keys() == whole.keys() == {0, 1, 2}
    for epoch, row in whole.items():
        for name, value in row.items():
            # the means over an epoch's steps are those since the checkpoint that lies within it
            within = objective not in ([], GAN) and epoch == 1 and name.startswith("train/")
            if name != "train/seconds" and not within:
                assert again[epoch][name] == value, (epoch, name)


def test_a_run_that_was_killed_while_it_was_tested_only_has_to_be_tested(
    finished_run: Path, tmp_path: Path
):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "results.json").unlink()
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    run_train(tmp_path, *overrides, "ckpt=run/checkpoints/last.ckpt", "hydra.run.dir=run")
    for name in ("results.json", "captions.json"):
        assert (run / name).read_text() == (finished_run / name).read_text()
    assert read_table(run / "metrics.csv") == read_table(finished_run / "metrics.csv")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_scheduler_can_tell_that_the_run_wants_to_go_on(name: str, tmp_path: Path):
    stop = f"{{_target_: commands_support.StopAt, batches: 3, signal: {name}}}"
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, *SMALL, "test=false", f"+callbacks.stop={stop}", "hydra.run.dir=run")
    assert left.value.code == REQUEUE
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3


def test_a_disk_that_is_full_costs_no_checkpoint(tmp_path: Path, monkeypatch, capsys):
    written = TorchCheckpointIO.save_checkpoint

    def full(self, checkpoint, path, options=None):
        if checkpoint["epoch"] == 1:
            Path(path).write_bytes(b"PK")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(self, checkpoint, path, options)

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", full)
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, *SMALL, "test=false", "hydra.run.dir=run")
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "cannot be written (No space left on device): make room" in said
    assert "the one before is whole" in said
    folder = tmp_path / "run/checkpoints"
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 0
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_what_the_machine_takes_away_is_one_sentence_and_costs_no_checkpoint(
    tmp_path: Path, capsys
):
    own = csv_data(tmp_path, 24)
    small = [o for o in SMALL if not o.startswith("data.")]
    small += ["data.batch_size=8", "data.cache_images=false", "data.num_workers=1", "test=false"]
    for path, said in (
        (tmp_path / "run1/metrics.csv", "metrics.csv cannot be read or written (Is a directory)"),
        (tmp_path / "data", ".png does not exist; then go on with: python train.py data=csv"),
    ):
        run = "run1" if "run1" in str(path) else "run2"
        take = f"+callbacks.take={{_target_: commands_support.FolderInPlaceOf, path: {path}}}"
        with pytest.raises(SystemExit) as left:
            run_train(tmp_path, *own, *small, take, f"hydra.run.dir={run}")
        assert left.value.code == 2
        told = capsys.readouterr().err
        assert said in told
        assert f"ckpt={run}/checkpoints/last.ckpt" in told
        # of the epoch before, or with what was trained until then
        last = torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)
        assert last["epoch"] in (0, 1)
        assert last["global_step"] >= 2
        assert not list((tmp_path / run / "checkpoints").glob(".*"))


def test_a_loss_that_is_no_number_names_its_images_and_costs_no_checkpoint(tmp_path: Path, capsys):
    spoil = "+callbacks.spoil={_target_: commands_support.Spoil}"
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, *SMALL, "test=false", spoil, "hydra.run.dir=run")
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "became nan at step 10, on the images train-" in said
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert all(
        torch.isfinite(value).all()
        for value in state(tmp_path / "run/checkpoints/last.ckpt").values()
    )
