"""Runs that validate and keep an average of their weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from captionlab import evaluate
from commands_support import GAN, SMALL, run_train

EMA = [*SMALL, "callbacks/average=ema", "callbacks.average.decay=0.6"]
RECORD = f"+callbacks.record={{_target_: {__name__}.Record}}"


class Record(Callback):
    """Keeps the weights after each optimizer step, and those that are validated."""

    steps: list[dict[str, Tensor]]
    validated: list[dict[str, Tensor]]
    stages: list[dict[str, Tensor]]  # those that an epoch's first batch meets

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        Record.steps, Record.validated, Record.stages = [weights(pl_module)], [], []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.stages.append(weights(pl_module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        if trainer.global_step == len(self.steps):
            self.steps.append(weights(pl_module))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if not trainer.sanity_checking and batch_idx == 0:
            self.validated.append(weights(pl_module))


def weights(module: pl.LightningModule) -> dict[str, Tensor]:
    return {
        name: value.clone()
        for name, value in module.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point() and "captioner." in name
    }


def stored(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def mean_of(steps: list[dict[str, Tensor]], decay: float = 0.6) -> dict[str, Tensor]:
    """Return the moving average of weights after each step, the first ones before any."""
    average = {name: value.double() for name, value in steps[0].items()}
    for n, now in enumerate(steps[1:], start=1):
        d = min(decay, n / (9 + n))
        average = {k: d * v + (1 - d) * now[k].double() for k, v in average.items()}
    return average


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=1e-6)


def test_the_average_is_validated_and_kept(tmp_path: Path):
    more = ["trainer.accumulate_grad_batches=2", "callbacks=early_stopping", RECORD]
    run_train(tmp_path, *EMA, *more, "hydra.run.dir=run")
    steps, folder = Record.steps, tmp_path / "run/checkpoints"
    assert len(steps) == 1 + 2 * 4
    halves = [mean_of(steps[:5]), mean_of(steps)]
    for validated, expected in zip(Record.validated, halves, strict=True):
        assert_close(validated, expected)
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert_close(best["state_dict"], halves[best["epoch"]])
    assert "average" not in best
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert_close(last["state_dict"], halves[1])
    for name, tensor in last["average"]["weights"].items():
        assert torch.equal(tensor, steps[-1][name]), name
    name = "captioner.decoder.words.weight"
    assert not torch.allclose(steps[-1][name], last["state_dict"][name], atol=1e-4)


def test_a_checkpoint_scores_what_its_run_scored(tmp_path: Path):
    run_train(tmp_path, *EMA, "test=false", "hydra.run.dir=run")
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    scores = evaluate(tmp_path / "run/checkpoints/last.ckpt", ["split=val", "meteor=false"])
    assert float(rows[-1]["val/loss"]) == pytest.approx(scores["val/loss"], abs=1e-6)


@pytest.mark.parametrize("batches", [3, 8, pytest.param(13, marks=pytest.mark.slow)])
def test_an_interrupted_average_goes_on_to_the_bit(batches: int, tmp_path: Path):
    kept = [*EMA, "test=false"]
    run_train(tmp_path, *kept, "hydra.run.dir=whole")
    stop = f"+callbacks.stop={{_target_: commands_support.StopAt, batches: {batches}}}"
    with pytest.raises(SystemExit):
        run_train(tmp_path, *kept, stop, "hydra.run.dir=part")
    last = tmp_path / "part/checkpoints/last.ckpt"
    run_train(tmp_path, *kept, f"ckpt={last}", "hydra.run.dir=rest")
    whole, rest = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("whole", "rest")
    )
    for part in (lambda one: one["state_dict"], lambda one: one["average"]["weights"]):
        assert part(whole).keys() == part(rest).keys()
        for name, value in part(whole).items():
            if isinstance(value, Tensor):
                assert torch.equal(value, part(rest)[name]), name
    assert whole["average"]["steps"] == rest["average"]["steps"] == 16


def test_a_run_goes_on_with_the_average_it_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_train(tmp_path, *EMA, "test=false", "trainer.max_epochs=1", "hydra.run.dir=run")
    last = f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}"
    for other in ("callbacks.average.decay=0.5", "callbacks/average=none", "callbacks=null"):
        same = SMALL if other == "callbacks=null" else EMA[:-1]
        with pytest.raises(SystemExit) as stop:
            run_train(tmp_path, *same, other, last, "hydra.run.dir=again")
        assert stop.value.code == 2
        assert "was trained with callbacks.average" in capsys.readouterr().err
        assert not (tmp_path / "again").exists()


def test_a_stage_begins_from_the_best_average_and_a_new_one(tmp_path: Path):
    staged = [
        "objective=staged",
        "objective.switch_epoch=1",
        "objective/reward@objective.then.reward=cider",
    ]
    run_train(tmp_path, *EMA, *staged, RECORD, "test=false", "hydra.run.dir=run")
    begin = Record.stages[1]
    assert_close(begin, mean_of(Record.steps[:9]))
    last = stored(tmp_path / "run/checkpoints/last.ckpt")
    assert_close(last, mean_of([begin, *Record.steps[9:]]))


@pytest.mark.slow
def test_the_adversarial_objective_averages_the_captioner_alone(tmp_path: Path):
    run_train(tmp_path, *EMA, "trainer.max_epochs=1", "test=false", "hydra.run.dir=start")
    begin = f"init_from={tmp_path / 'start/checkpoints/best.ckpt'}"
    more = [*GAN, "trainer.max_epochs=1", "test=false", RECORD, begin]
    run_train(tmp_path, *EMA, *more, "hydra.run.dir=run")
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert_close(last["state_dict"], mean_of(Record.steps))
    assert all(name.startswith("captioner.") for name in last["average"]["weights"])


def test_a_run_without_a_best_checkpoint_tests_the_average(tmp_path: Path):
    no_best = ["callbacks.best=null", "trainer.max_epochs=1"]
    run_train(tmp_path, *EMA, *no_best, "hydra.run.dir=run")
    last = tmp_path / "run/checkpoints/last.ckpt"
    scores = evaluate(last, ["split=test", "meteor=false"])
    written = json.loads((tmp_path / "run/results.json").read_text())
    assert written["test/loss"] == pytest.approx(scores["test/loss"], abs=1e-6)
