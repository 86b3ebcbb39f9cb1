"""``captionlab export`` on the command line: what it refuses, and the card of a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from captionlab.cli.export import export
from captionlab.cli.main import main
from captionlab.core.errors import UserError
from captionlab.inference.calibrated import file_sha256
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.metrics.calibration import Calibration

CKPT = str(Path(__file__).parents[1] / "fixtures" / "checkpoints" / "lstm.ckpt")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run an export that must fail; return its one line."""
    with pytest.raises(SystemExit) as status:
        main(["export", *words])
    assert status.value.code == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text.splitlines()[-1]


CASES = {
    "8 bits of weights": (["--format", "safetensors", "--int8"], "--int8 is for --format onnx"),
    "photographs for nothing": (["--calibration", "{data}"], "say --int8"),
    "two precisions": (["--int8", "--fp16"], "not allowed with"),
    "an unknown format": (["--format", "pickle"], "invalid choice"),
    "photographs that are not there": (
        ["--int8", "--calibration", "none"],
        "no file or folder none",
    ),
    "an empty license": (["--license", " "], "--license is empty"),
    "a license of a checkpoint": (["--format", "checkpoint", "--license", "mit"], "leave --int8"),
}


@pytest.mark.parametrize(("words", "sentence"), CASES.values(), ids=CASES)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pictures = str(Path(CKPT).parent / "pictures")
    words = [word.replace("{data}", pictures) for word in words]
    assert sentence in refused(capsys, CKPT, "--out", str(tmp_path / "out"), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    form = ["--format", "safetensors"]
    assert "is no folder" in refused(capsys, CKPT, *form, "--out", str(tmp_path / "file"))
    assert "no earlier export" in refused(capsys, CKPT, *form, "--out", str(tmp_path / "full"))
    assert "nothing is sent there" in refused(capsys, CKPT, *form, "--out", "hf://a/b")
    assert "There is no checkpoint" in refused(
        capsys, "no.ckpt", *form, "--out", str(tmp_path / "x")
    )


def test_the_card_of_a_run_has_its_scores_with_intervals(finished_run: Path, tmp_path: Path):
    best = finished_run / "checkpoints" / "best.ckpt"
    export(str(best), str(tmp_path / "out"), format="safetensors")
    card = (tmp_path / "out" / "README.md").read_text()
    cider = json.loads((finished_run / "results.json").read_text())["test/cider"]
    row = next(line for line in card.splitlines() if line.startswith("| cider"))
    assert f"{cider:.3f} (" in row
    assert "| train | 128 images" in card
    assert str(finished_run) not in card + (tmp_path / "out" / "captionlab.json").read_text()


def test_other_weights_than_the_best_have_no_test_scores(finished_run: Path, tmp_path: Path):
    last = finished_run / "checkpoints" / "last.ckpt"
    export(str(last), str(tmp_path / "out"), format="safetensors")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| | validation |" in card


@pytest.mark.parametrize("content", ["[1]", "{", '{"test/cider": NaN}', '{"test/cider": "x"}'])
def test_damaged_scores_cost_the_card_its_scores_alone(
    content: str, finished_run: Path, tmp_path: Path
):
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text(content)
    export(str(tmp_path / "run/checkpoints/best.ckpt"), str(tmp_path / "out"), format="safetensors")
    assert "## Scores" in (tmp_path / "out" / "README.md").read_text()


def test_an_export_of_an_export_is_the_same_one(finished_run: Path, tmp_path: Path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    export(str(finished_run / "checkpoints" / "best.ckpt"), first, format="safetensors")
    export(first, second, format="safetensors")
    one, two = (json.loads(Path(p, "captionlab.json").read_text()) for p in (first, second))
    one["files"].pop("README.md"), two["files"].pop("README.md")  # test scores are the run's
    assert one == two
    stored = read_checkpoint(finished_run / "checkpoints" / "best.ckpt")
    again = read_checkpoint(second)
    assert (again.epochs, again.scores) == (stored.epochs, stored.scores)
    assert again.data["splits"] == stored.data["splits"]


def test_the_calibration_beside_a_checkpoint_goes_along(tmp_path: Path):
    shutil.copy(CKPT, tmp_path / "best.ckpt")
    calibration = Calibration("log_odds", 1.0, 0.0, checkpoint_sha256=file_sha256(CKPT))
    calibration.write(tmp_path / "calibration.json")
    export(str(tmp_path / "best.ckpt"), str(tmp_path / "out"), format="safetensors")
    assert (tmp_path / "out" / "calibration.json").read_bytes() == (
        tmp_path / "calibration.json"
    ).read_bytes()
    assert "chance of being right" in (tmp_path / "out" / "README.md").read_text()


def test_the_calibration_of_another_checkpoint_stays_where_it_is(tmp_path: Path, caplog):
    shutil.copy(CKPT, tmp_path / "last.ckpt")
    calibration = Calibration("log_odds", 1.0, 0.0, checkpoint_sha256="0" * 64)
    calibration.write(tmp_path / "calibration.json")
    export(str(tmp_path / "last.ckpt"), str(tmp_path / "out"), format="safetensors")
    assert not (tmp_path / "out" / "calibration.json").exists()
    assert "chance of being right" not in (tmp_path / "out" / "README.md").read_text()
    assert "of another checkpoint" in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"' + "x" * 70_000 + '"'])
def test_a_calibration_that_is_none_is_named(content: str, tmp_path: Path):
    shutil.copy(CKPT, tmp_path / "best.ckpt")
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(UserError, match=r"calibration\.json"):
        export(str(tmp_path / "best.ckpt"), str(tmp_path / "out"), format="safetensors")
    assert not (tmp_path / "out").exists()
