"""`import captionlab`: light, complete, and the commands as functions that leave nothing behind."""

from __future__ import annotations

import ast
import importlib
import logging
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import captionlab
from captionlab import UserError
from commands_support import SMALL, StopAt

ROOT = Path(captionlab.__file__).parent


def packages() -> Iterator[str]:
    """Every package that exports names lazily."""
    for module in pkgutil.walk_packages([str(ROOT)], "captionlab."):
        if module.ispkg and "lazy_exports" in source(module.name):
            yield module.name
    yield "captionlab"


def source(package: str) -> str:
    path = ROOT.joinpath(*package.split(".")[1:], "__init__.py")
    return path.read_text(encoding="utf-8")


def names_for_type_checkers(package: str) -> set[str]:
    blocks = [
        node
        for node in ast.parse(source(package)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [one for block in blocks for one in block.body if isinstance(one, ast.ImportFrom)]
    return {alias.asname or "" for one in imports for alias in one.names}


@pytest.mark.parametrize("package", sorted(packages()))
def test_every_public_name_is_there_at_run_time_and_for_type_checkers(package):
    module = importlib.import_module(package)
    assert names_for_type_checkers(package) == set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        _ = captionlab.trane


def test_the_import_loads_nothing_heavy():
    code = "import captionlab, sys; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numpy", "hydra", "omegaconf", "yaml", "pytorch_lightning"}
    assert len([name for name in done.stdout.split() if name.startswith("captionlab")]) <= 4


def test_the_package_tells_type_checkers_that_it_is_typed():
    assert (ROOT / "py.typed").is_file()


def test_presets_are_the_choices_of_each_group_with_a_line_on_each():
    assert "LSTM" in captionlab.presets["model"]["attn_lstm"]
    assert all(captionlab.presets["model/encoder"].values())
    assert set(captionlab.presets) >= {"model", "data", "objective", "experiment"}
    assert "@package" not in "".join(captionlab.presets["experiment"].values())
    with pytest.raises(UserError, match="did you mean 'model'"):
        captionlab.presets["modle"]


def test_compose_gives_plain_checked_values():
    config = captionlab.compose(["model=attn_lstm", "optimizer.lr=1e-3"])
    assert type(config) is dict
    assert config["model"]["encoder"]["name"] == "resnet50"
    assert config["optimizer"]["lr"] == 1e-3
    with pytest.raises(UserError, match=r"hidden='wide' is not a whole number"):
        captionlab.compose(["model.decoder.hidden=wide"])


def test_score_takes_captions_from_anywhere():
    same = {1: "a dog runs on grass", 2: "two cats sleep here"}
    scores = captionlab.score(same, {i: [text] for i, text in same.items()})
    assert scores["bleu_4"] == pytest.approx(1.0)
    with pytest.raises(UserError, match=r"references\[1\] is one text: give a list"):
        captionlab.score(same, same)
    with pytest.raises(UserError, match="1 of 2 images have no caption"):
        captionlab.score({1: "a dog"}, {i: [text] for i, text in same.items()})


def state() -> dict[str, object]:
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "folder": Path.cwd(),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "handlers": list(logging.getLogger("captionlab").handlers),
        "random": torch.random.get_rng_state().tolist(),
        "hydra": GlobalHydra.instance().hydra,
    }


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_train_returns_a_run_and_leaves_the_process_as_it_was(here):
    before = state()
    run = captionlab.train([*SMALL, "examples=0", "hydra.run.dir=run"])
    assert state() == before
    assert run.path == Path("run")
    assert repr(run).startswith("Run('run', 2 epochs, test/cider 0.")
    assert "test/cider" in run.results
    assert [row["epoch"] for row in run.metrics] == [0, 1]
    assert run.config["model.decoder.hidden"] == 32
    assert run.best_checkpoint == Path("run/checkpoints/best.ckpt")
    assert run.last_checkpoint is not None
    assert run.gallery is not None
    assert len(run.captions()) == 8
    again = captionlab.train([*SMALL, "examples=0"])
    assert again.results == run.results
    assert again.path.parent.parent == Path("runs")
    scores = captionlab.evaluate(run.best_checkpoint, ["trainer.accelerator=cpu"])
    assert scores["test/cider"] == run.results["test/cider"]
    assert state() == before


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("model=tiny", r"overrides are a list: train\(\['model=tiny'\]\)"),
        (["-m", "seed=1,2"], "-m is an option of the command line"),
        (["seed=1,2"], "has a comma"),
        (["model=tinny"], "did you mean 'tiny'"),
        (["sweep=optuna"], "captionlab train -m sweep=optuna"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true has no effect"),
        (
            ["trainer.accelerator=cpu", "trainer.devices=2"],
            "asks for 2 processes.*captionlab train trainer.accelerator=cpu trainer.devices=2",
        ),
        (["trainer=ddp_cpu"], "asks for 2 processes"),
    ],
    ids=["text", "option", "comma", "choice", "sweep", "hydra", "devices", "ddp"],
)
def test_train_refuses_with_one_sentence_and_writes_nothing(here, overrides, sentence):
    before = state()
    with pytest.raises(UserError, match=sentence):
        captionlab.train(overrides)
    assert state() == before
    assert not list(here.iterdir())


def test_a_mistake_that_shows_when_parts_are_built_is_a_user_error_too(here):
    before = state()
    with pytest.raises(UserError, match=r"model\.encoder"):
        captionlab.train([*SMALL, "model.encoder.channels=[]"])
    assert state() == before


def test_ctrl_c_ends_training_and_what_was_trained_is_resumed(here):
    before = state()
    stop = f"+callbacks.stop={{_target_: {StopAt.__module__}.StopAt, batches: 3}}"
    with pytest.raises(KeyboardInterrupt):
        captionlab.train([*SMALL, stop, "hydra.run.dir=run"])
    assert state() == before
    last = "ckpt=run/checkpoints/last.ckpt"
    run = captionlab.train([*SMALL, last, "hydra.run.dir=run", "examples=0"])
    assert run.finished
