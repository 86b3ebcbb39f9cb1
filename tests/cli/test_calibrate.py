"""How sure a checkpoint is, and captions that are not given where it is not."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from captionlab.cli.calibrate import calibrate
from captionlab.cli.main import main
from captionlab.cli.predict import NOT_SURE, predict
from captionlab.core.errors import UserError
from captionlab.metrics.calibration import Calibration

SIZES = ["data.source.val_size=40", "data.source.test_size=30"]


@pytest.fixture(scope="module")
def calibrated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its calibration beside it."""
    path = tmp_path_factory.mktemp("calibrated") / "best.ckpt"
    shutil.copy(finished_run / "checkpoints" / "best.ckpt", path)
    calibrate(str(path), SIZES, device="cpu")
    return path


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.new("RGB", (90, 60), (40, 99, 10)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_file_says_what_right_means_and_what_was_measured(calibrated: Path):
    written = Calibration.read(calibrated.with_name("calibration.json"))
    assert (written.right, written.facts["proxy"]) == ("truth", False)
    assert written.facts["report"]["captions"] == 30
    assert written.ece == written.facts["report"]["ece"]


def test_a_likeness_to_references_is_called_a_proxy(calibrated: Path, tmp_path: Path, capsys):
    out = tmp_path / "proxy.json"
    calibrate(str(calibrated), SIZES, correct="cider>=0.2", out=str(out), device="cpu")
    assert "a proxy: likeness to references, no truth" in capsys.readouterr().out
    written = Calibration.read(out)
    assert (written.right, written.facts["proxy"]) == ("cider>=0.2", True)


def test_abstaining_gives_no_caption_below_the_chance(calibrated: Path, photo: str, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    predict(str(calibrated), [photo], out=str(out))
    (plain,) = lines(out)
    assert plain.keys() == {"image", "caption", "score"}
    predict(str(calibrated), [photo], out=str(out), abstain=1.0)
    (line,) = lines(out)
    assert (line["caption"], line["abstained"]) == (NOT_SURE, True)
    assert 0 < line["probability"] < 1
    predict(str(calibrated), [photo], out=str(out), abstain=0.0)
    (line,) = lines(out)
    assert (line["caption"], line["abstained"]) == (plain["caption"], False)


def test_of_several_captions_the_sure_ones_are_given(calibrated: Path, photo: str, tmp_path: Path):
    out, beam = tmp_path / "out.jsonl", ["decoding=beam", "decoding.num_captions=3"]
    predict(str(calibrated), [photo], out=str(out), overrides=beam, abstain=0.0)
    (line,) = lines(out)
    chances = [one["probability"] for one in line["captions"]]
    between = (max(chances) + sorted(chances)[1]) / 2
    predict(str(calibrated), [photo], out=str(out), overrides=beam, abstain=between)
    (line,) = lines(out)
    assert "captions" not in line
    assert line["probability"] == max(chances)


def test_other_decoding_than_was_calibrated_is_noted(calibrated: Path, photo: str, capsys):
    predict(str(calibrated), [photo], abstain=0.5)
    assert "note" not in capsys.readouterr().err
    predict(str(calibrated), [photo], abstain=0.5, overrides=["decoding=greedy"])
    assert "another decoding" in capsys.readouterr().err


def test_calibration_of_another_checkpoint_is_refused(calibrated: Path, photo: str, tmp_path: Path):
    other = tmp_path / "other.ckpt"
    other.write_bytes(calibrated.read_bytes() + b"\0")
    shutil.copy(calibrated.with_name("calibration.json"), tmp_path)
    with pytest.raises(UserError, match=r"belongs to another checkpoint.*captionlab calibrate"):
        predict(str(other), [photo], abstain=0.3)


def test_without_a_calibration_the_command_is_named(finished_run: Path, photo: str):
    checkpoint = str(finished_run / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match=f"say captionlab calibrate {checkpoint}"):
        predict(checkpoint, [photo], abstain=0.3)


@pytest.mark.parametrize("chance", [-0.1, 1.5, float("nan")])
def test_what_is_no_chance_is_refused(calibrated: Path, photo: str, chance: float):
    with pytest.raises(UserError, match="from 0 to 1"):
        predict(str(calibrated), [photo], abstain=chance)


def test_an_ensemble_cannot_abstain(calibrated: Path, photo: str):
    with pytest.raises(UserError, match="ensemble"):
        predict(str(calibrated), [photo], abstain=0.3, others=[str(calibrated)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["split=val"], "fitted on val"),
        (["split=tset"], "no split 'tset'"),
        (["--correct", "cider"], "cider>=0.5"),
        ([*SIZES, "--correct", "wups_09>=1"], "no score 'wups_09'"),
        (["trainer.devices=2"], "--device"),
        (["data.source.val_size=8"], "20 captions or more"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    finished_run: Path, tmp_path: Path, capsys, arguments: list[str], message: str
):
    out = tmp_path / "calibration.json"
    checkpoint = str(finished_run / "checkpoints" / "best.ckpt")
    with pytest.raises(SystemExit) as end:
        main(["calibrate", checkpoint, *arguments, "--out", str(out), "--device", "cpu"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
