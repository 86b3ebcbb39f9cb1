"""The watch on collapse: what it says, what it keeps, when it ends a run."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.training.callbacks.validation import Collapse
from captionlab.training.module import CaptioningModule


def module(start: dict[str, float]) -> CaptioningModule:
    bare = CaptioningModule.__new__(CaptioningModule)
    torch.nn.Module.__init__(bare)
    bare.start_scores = start
    bare.evaluator = SimpleNamespace(results={})
    return bare


def validate(watch: Collapse, model: CaptioningModule, **scores: float) -> bool:
    """Let the callback see a validation; return whether it ends the run."""
    model.evaluator.results = {"val": scores}
    trainer = SimpleNamespace(
        sanity_checking=False,
        is_global_zero=True,
        should_stop=False,
        save_checkpoint=lambda path, weights_only: Path(path).write_text(str(scores)),
    )
    watch.on_validation_end(trainer, model)
    return trainer.should_stop


def test_a_collapse_is_said_once_and_the_last_healthy_model_stays(tmp_path: Path, caplog):
    watch = Collapse(dirpath=str(tmp_path))
    model = module({"div_2": 0.8, "cider": 1.0})
    with caplog.at_level(logging.WARNING):
        assert not validate(watch, model, div_2=0.7, cider=1.2)
        assert not validate(watch, model, div_2=0.41, cider=1.5)
        healthy = watch.path.read_text()
        assert "0.41" in healthy
        assert not caplog.records
        for _ in range(2):
            assert not validate(watch, model, div_2=0.39, cider=2.0)
    assert watch.path.read_text() == healthy
    (said,) = [record.getMessage() for record in caplog.records]
    assert "val/div_2 is 0.390, it was 0.800" in said
    assert "val/cider" not in said
    assert str(watch.path) in said
    assert [file.name for file in tmp_path.iterdir()] == ["healthy.ckpt"]


def test_noise_is_a_collapse_too_and_ends_the_run_if_told(tmp_path: Path):
    watch = Collapse(dirpath=str(tmp_path), stop=True)
    # a run that began from nothing compares with its first validation
    model = module({})
    assert not validate(watch, model, div_2=0.5, cider=1.0)
    assert validate(watch, model, div_2=0.9, cider=0.1)


def test_a_resumed_run_goes_on_comparing_with_its_start(tmp_path: Path):
    watch = Collapse(dirpath=str(tmp_path))
    validate(watch, module({}), div_2=0.8, cider=1.0)
    again = Collapse(dirpath=str(tmp_path), stop=True)
    again.load_state_dict(watch.state_dict())
    assert validate(again, module({}), div_2=0.3, cider=1.0)


def test_what_cannot_be_watched_is_said(tmp_path: Path):
    with pytest.raises(UserError, match=r"share=2 is not between 0 and 1"):
        Collapse(dirpath=str(tmp_path), share=2)
    with pytest.raises(UserError, match="say samples=5"):
        validate(Collapse(dirpath=str(tmp_path)), module({}), cider=1.0)
