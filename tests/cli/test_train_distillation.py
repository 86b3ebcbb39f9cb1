"""Runs that learn from trained captioners."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from commands_support import SMALL, run_train

QUICK = [*SMALL, "model.encoder.channels=[8,12]", "test=false"]
STUDENT = [*QUICK, "objective=distillation", "hydra.run.dir=run"]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("teachers")
    one = [*QUICK, "trainer.max_epochs=1"]
    run_train(folder, *one, "hydra.run.dir=lstm")
    other = ["model=transformer", "model/encoder=small_cnn", "model.decoder.feed_forward=32"]
    layers = ["model.decoder.layers=1", "model.decoder.encoder_layers=1", "model.decoder.heads=2"]
    small = [option for option in one if "embedding" not in option]
    run_train(folder, *small, *other, *layers, "hydra.run.dir=transformer")
    return [folder / name / "checkpoints/best.ckpt" for name in ("lstm", "transformer")]


def named(*paths: Path) -> str:
    return f"objective.teacher=[{','.join(map(str, paths))}]"


def refused(folder: Path, capsys, *overrides: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run_train(folder, *overrides)
    assert ended.value.code == 2
    assert not (folder / "run").exists()
    return capsys.readouterr().err


def test_two_teachers_of_different_kinds_and_a_run_that_stops(teachers: list[Path], tmp_path: Path):
    moved = [shutil.copy(path, tmp_path / f"{i}.ckpt") for i, path in enumerate(teachers)]
    run_train(tmp_path, *STUDENT, named(*moved), "hydra.run.dir=whole")
    stop = "+callbacks.stop={_target_: commands_support.StopAt, batches: 11}"
    with pytest.raises(SystemExit):
        run_train(tmp_path, *STUDENT, named(*moved), stop, "hydra.run.dir=part")
    last = f"ckpt={tmp_path / 'part/checkpoints/last.ckpt'}"
    # by their weights they are the same, wherever they lie
    run_train(tmp_path, *STUDENT, named(*teachers), last, "hydra.run.dir=rest")
    expected, found = (
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "rest")
    )
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        same = torch.equal(value, found[name]) if isinstance(value, torch.Tensor) else None
        assert value == found[name] if same is None else same, name
    with (tmp_path / "whole/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["train/distillation/kl"]) < float(rows[0]["train/distillation/kl"])
    for path in moved:
        Path(path).unlink()
    captioner = load_captioner(tmp_path / "whole/checkpoints/best.ckpt")
    assert captioner(torch.zeros(3, 32, 32, dtype=torch.uint8))
    with pytest.raises(SystemExit):
        run_train(tmp_path, *STUDENT, named(*reversed(teachers)), last, "hydra.run.dir=others")


def test_sequences_in_a_second_stage(teachers: list[Path], tmp_path: Path):
    stages = [
        "objective=staged",
        "objective.switch_epoch=1",
        "objective@objective.then=distillation",
    ]
    then = ["objective.then.level=sequence", f"objective.then.teacher=[{teachers[0]}]"]
    run_train(tmp_path, *QUICK, *stages, *then, "hydra.run.dir=run")
    with (tmp_path / "run/metrics.csv").open() as file:
        assert list(csv.DictReader(file))[1]["train/distillation/teacher_nll"]


def test_a_teacher_of_another_vocabulary_is_refused(teachers: list[Path], tmp_path: Path, capsys):
    error = refused(tmp_path, capsys, *STUDENT, named(*teachers), "data.tokenizer.threshold=60")
    assert "cannot teach this run: their vocabularies differ (" in error


def test_a_teacher_of_other_images_is_refused(teachers: list[Path], tmp_path: Path, capsys):
    error = refused(tmp_path, capsys, *STUDENT, named(*teachers), "model.encoder.image_size=64")
    assert "cannot teach this run: model.encoder.image_size is 32 and 64" in error


def test_no_teacher_and_one_that_is_not_there_are_refused(tmp_path: Path, capsys):
    assert "nobody to learn from" in refused(tmp_path, capsys, *STUDENT)
    assert "missing.ckpt" in refused(tmp_path, capsys, *STUDENT, named(tmp_path / "missing.ckpt"))
