"""Runs whose second stage rewards sampled captions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from captionlab.inference.checkpoints import read_checkpoint
from commands_support import SMALL, run_train

STAGED = ["objective=staged", "objective.switch_epoch=1", "objective.learning_rate=1e-4"]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("staged")
    run_train(folder, *SMALL, *STAGED, "objective.then.check_steps=0", "hydra.run.dir=run")
    return folder / "run"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_second_stage_has_its_own_rate_and_its_own_diagnostics(staged: Path):
    first, second = rows(staged)
    assert first["train/cross_entropy/nll"]
    assert not first["train/self_critical/reward"]
    assert second["train/self_critical/reward"]
    assert float(second["train/lr"]) == pytest.approx(1e-4)


def test_a_checkpoint_knows_its_validation_scores(staged: Path):
    scores = read_checkpoint(staged / "checkpoints/last.ckpt").scores
    assert scores["cider"] == pytest.approx(float(rows(staged)[-1]["val/cider"]), abs=1e-6)


def test_the_frequencies_that_weigh_words_are_kept(staged: Path):
    with np.load(staged / "document_frequencies.npz") as kept:
        assert kept["images"] == 128
        assert (kept["counts_1"] <= 128).all()


def test_a_new_run_goes_on_from_a_checkpoint(staged: Path, tmp_path: Path):
    start = f"init_from={staged / 'checkpoints/best.ckpt'}"
    more = ["objective=self_critical", "objective.check_steps=0", "trainer.max_epochs=1"]
    run_train(tmp_path, *SMALL, *more, start, "optimizer.lr=1e-4", "hydra.run.dir=run")
    assert "test/cider" in json.loads((tmp_path / "run/results.json").read_text())


def test_random_weights_are_refused(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *SMALL, "objective=self_critical", "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "objective=staged" in capsys.readouterr().err
