"""What the configuration tells is checked before the first step; what was trained is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from captionlab.cli.limits import LIMITS, require_limits
from captionlab.config.compose import compose
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.training.loggers.table import read_table
from commands_support import SMALL, csv_data, run_train

TINY = [*SMALL[:-2], "data.source.train_size=32", "meteor=false", "samples=0", "test=false"]


def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *TINY, *overrides, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert not (tmp_path / "run").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("callbacks.best.monitor=val/cidre", ["callbacks.best.monitor=val/cidre", "'val/cider'"]),
        ("callbacks.best.mode=biggest", ["callbacks.best", "biggest"]),
        ("callbacks.best.monitor=val/meteor", ["val/meteor", "meteor=false"]),
        ("callbacks.best.monitor=test/cider", ["did you mean 'val/cider'"]),
        ("callbacks.best.monitor=val/tags_map", ["model/tags=default"]),
        ("callbacks.best.monitor=train/cross_entropie/nll", ["no value of that name"]),
        ("callbacks=early_stopping callbacks.early_stopping.monitor=val/nothing", ["val/nothing"]),
        ("callbacks=early_stopping callbacks.early_stopping.mode=up", ["early_stopping", "up"]),
        ("callbacks=early_stopping callbacks.early_stopping.patience=-1", ["patience=-1"]),
        ("callbacks=adversarial", ["callbacks.best.monitor=val/balance", "samples=5"]),
        ("scheduler=plateau scheduler.monitor=val/los", ["scheduler.monitor=val/los", "val/loss"]),
        ("scheduler=plateau scheduler.mode=up", ["scheduler.mode"]),
        (
            "objective=staged objective.switch_epoch=99",
            ["objective.switch_epoch=99", "max_epochs=5"],
        ),
        ("objective=staged objective.switch_epoch=5", ["never begin in trainer.max_epochs=5"]),
        ("optimizer.lr=nan", ["optimizer.lr=nan", "no finite number"]),
        ("optimizer.lr=0", ["optimizer.lr=0 must be above 0"]),
        ("optimizer.weight_decay=-1", ["optimizer.weight_decay=-1"]),
        ("+optimizer.betas=[2,0.9]", ["optimizer", "beta"]),
        ("trainer.gradient_clip_val=-1", ["trainer.gradient_clip_val=-1 must be at least 0"]),
        ("trainer.accumulate_grad_batches=0", ["trainer.accumulate_grad_batches=0"]),
        ("trainer.max_epochs=0", ["trainer.max_epochs=0", "or -1"]),
        ("trainer.check_val_every_n_epoch=0", ["trainer.check_val_every_n_epoch=0"]),
        ("trainer.limit_val_batches=1.5", ["trainer.limit_val_batches=1.5"]),
        ("+trainer.val_check_interval=0", ["trainer.val_check_interval=0"]),
        ("samples=-1", ["samples=-1"]),
        ("seed=-1", ["seed=-1"]),
        ("logger=wandb logger.wandb.project=a/b", ["logger.wandb.project='a/b'", "none of /"]),
        (
            "logger=wandb logger.wandb.mode=offline logger.wandb.monitor=val/x",
            ["logger.wandb.monitor"],
        ),
        (
            "trainer.limit_val_batches=0 callbacks=early_stopping",
            ["callbacks.early_stopping.monitor=val/cider", "does not validate"],
        ),
    ],
)
def test_it_is_told_before_anything_is_written(tmp_path, capsys, overrides: str, parts: list[str]):
    message = refusal(tmp_path, capsys, *overrides.split(" "))
    assert len(message.strip().splitlines()) == 1
    for part in parts:
        assert part in message


CHOICES = {
    "plain": ["samples=0"],
    "several captions": ["samples=2"],
    "beams": ["samples=0", "decoding=diverse_beam"],
    "tags": ["model/tags=default"],
    "no validation": ["trainer.limit_val_batches=0"],
}


class Names(Callback):
    """Keeps what a run promised to log, and what it logged."""

    promised: frozenset[str] = frozenset()
    logged: frozenset[str] = frozenset()

    def on_train_start(self, trainer, pl_module) -> None:
        validates = trainer.limit_val_batches != 0
        Names.promised = frozenset(pl_module.logged_names(validates=validates))

    def on_train_end(self, trainer, pl_module) -> None:
        Names.logged = frozenset(trainer.logged_metrics) | frozenset(trainer.callback_metrics)


@pytest.mark.parametrize("kind", CHOICES)
def test_what_is_promised_is_logged_and_nothing_else(tmp_path: Path, kind: str):
    names = f"+callbacks.names={{_target_: {__name__}.Names}}"
    run_train(tmp_path, *TINY, *CHOICES[kind], names, "trainer.max_epochs=1", "hydra.run.dir=run")
    own = "train/cross_entropy/"
    assert {n for n in Names.logged if not n.startswith(own)} - {"epoch"} == Names.promised


@pytest.mark.parametrize(
    ("epochs", "every", "validated"),
    [(3, 5, [2]), (4, 3, [2, 3]), (2, 1, [0, 1])],
)
def test_the_last_epoch_is_validated_and_in_a_checkpoint(tmp_path, epochs, every, validated):
    run_train(
        tmp_path,
        *TINY,
        f"trainer.max_epochs={epochs}",
        f"trainer.check_val_every_n_epoch={every}",
        "hydra.run.dir=run",
    )
    rows = read_table(tmp_path / "run/metrics.csv")
    assert [epoch for epoch, row in rows.items() if "val/cider" in row] == validated
    for name in ("last", "best"):
        assert (tmp_path / f"run/checkpoints/{name}.ckpt").exists()
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt").epochs == epochs


def test_a_run_that_ends_within_an_epoch_is_validated_once_and_kept(tmp_path: Path):
    run_train(tmp_path, *TINY, "trainer.max_steps=1", "trainer.max_epochs=-1", "hydra.run.dir=run")
    stored = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert stored["global_step"] == 1
    assert "val/cider" in read_table(tmp_path / "run/metrics.csv")[0]
    assert (tmp_path / "run/checkpoints/best.ckpt").exists()


def test_without_validation_the_last_weights_are_the_best(tmp_path: Path, capsys):
    run_train(
        tmp_path,
        *TINY[:-1],
        "trainer.limit_val_batches=0",
        "trainer.max_epochs=1",
        "hydra.run.dir=run",
    )
    out = capsys.readouterr().out
    assert "best.ckpt is the last one" in out
    assert (tmp_path / "run/results.json").exists()
    best, last = (read_checkpoint(tmp_path / f"run/checkpoints/{n}.ckpt") for n in ("best", "last"))
    assert all(torch.equal(best.weights[name], last.weights[name]) for name in last.weights)


def test_every_path_that_a_run_prints_is_there(tmp_path: Path, capsys):
    run_train(tmp_path, *TINY[:-1], "callbacks=null", "trainer.max_epochs=1", "hydra.run.dir=run")
    out = capsys.readouterr().out
    assert "gallery.html" not in out
    assert "best.ckpt" not in out
    assert {p.name for p in (tmp_path / "run").iterdir() if p.is_dir()} == set()


def test_the_best_checkpoint_holds_weights_alone_and_is_not_resumed(tmp_path, capsys):
    run_train(tmp_path, *TINY, "trainer.max_epochs=1", "hydra.run.dir=run")
    best, last = (tmp_path / f"run/checkpoints/{name}.ckpt" for name in ("best", "last"))
    stored = torch.load(best, weights_only=True)
    assert not {"optimizer_states", "callbacks", "random_state"} & set(stored)
    assert all(name.startswith("captioner.") for name in stored["state_dict"])
    assert best.stat().st_size < 0.45 * last.stat().st_size
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_train(tmp_path, *TINY, "trainer.max_epochs=2", f"ckpt={best}", "hydra.run.dir=more")
    message = capsys.readouterr().err
    assert f"ckpt={last} resumes the run" in message
    assert f"init_from={best}" in message
    run_train(tmp_path, *TINY, "trainer.max_epochs=1", f"init_from={best}", "hydra.run.dir=more")


class FailIn(Callback):
    """Fails in a hook of the second epoch with an error of somebody's own code."""

    def __init__(self, *, hook: str) -> None:
        setattr(self, hook, self.fail)

    def fail(self, trainer, *_: object) -> None:
        if trainer.current_epoch == 1 and not trainer.sanity_checking:
            raise ZeroDivisionError("of a user's own")


@pytest.mark.parametrize(
    "hook", ["on_validation_start", "on_train_batch_end", "on_train_epoch_end"]
)
def test_an_error_of_ones_own_loses_nothing_that_was_trained(tmp_path: Path, capsys, hook: str):
    fail = f"+callbacks.fail={{_target_: {__name__}.FailIn, hook: {hook}}}"
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *TINY, fail, "trainer.max_epochs=3", "hydra.run.dir=run")
    assert ended.value.code == 1
    streams = capsys.readouterr()
    assert "of a user's own" in streams.err
    assert "go on with" in streams.out
    stored = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert stored["global_step"] > 2
    rest = ["trainer.max_epochs=3", f"ckpt={tmp_path}/run/checkpoints/last.ckpt"]
    run_train(tmp_path, *TINY, *rest, "hydra.run.dir=run")


def test_every_limit_is_of_a_setting_that_there_is():
    config = resolve(
        compose(["callbacks=early_stopping", "logger=wandb", "optimizer=sgd", "output_dir=unused"])
    )
    for key in LIMITS:
        top = key.split(".")[0]
        assert top in config, key


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_anywhere_is_infinite(value: float):
    config = resolve(compose(["output_dir=unused"]))
    config["model"]["decoder"]["dropout"] = value
    config["decoding"]["bad_endings"] = [value]
    with pytest.raises(UserError) as error:
        require_limits(config)
    assert len(str(error.value).splitlines()) == 2


def test_data_without_validation_are_told_the_way_out_and_it_works(tmp_path: Path, capsys):
    data = csv_data(tmp_path, 6)
    table = tmp_path / "data" / "captions.csv"
    text = table.read_text().replace(",val", ",train").replace(",test", ",train")
    table.write_text(text)
    own = [*SMALL[3:], *data, "samples=0", "hydra.run.dir=run"]
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *own)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "csv has no split 'val'" in told
    assert "trainer.limit_val_batches=0" in told
    run_train(tmp_path, *own, "trainer.limit_val_batches=0")
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
    captured = capsys.readouterr()
    assert "csv has neither a split 'test' nor 'val'" in captured.out + captured.err
