import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from captionlab import load_captioner
from captionlab.cli.predict import predict
from captionlab.core.errors import UserError
from tests_support import HANG


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for i, place in enumerate(["a.jpg", "b.png", "deep/c.jpg"]):
        Image.new("RGB", (90, 60 + i), (40 * i, 99, 10)).save(folder / place)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("name", ["captions.csv", "captions.json", "captions.txt"])
def test_another_kind_of_file_is_not_given_json_lines(tmp_path: Path, photos: Path, name: str):
    with pytest.raises(UserError, match=r"JSON lines are written, .* say --out .*captions\.jsonl"):
        predict("unread.ckpt", [str(photos)], out=str(tmp_path / name))
    assert not (tmp_path / name).exists()


def best(run: Path) -> str:
    return str(run / "checkpoints" / "best.ckpt")


def test_every_photo_of_a_folder_gets_a_line(finished_run: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "captions.jsonl"
    assert predict(best(finished_run), [str(photos)], out=str(out), batch_size=2) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["a.jpg", "b.png", "c.jpg"]
    assert all(line["caption"] and line["score"] < 0 for line in lines)


def test_several_captions_of_a_photo_come_with_their_scores(
    finished_run: Path, photos: Path, tmp_path: Path, capsys
):
    several = ["decoding=beam", "decoding.beam_size=4", "decoding.num_captions=3"]
    paths, out = [str(photos / "a.jpg")], tmp_path / "captions.jsonl"
    predict(best(finished_run), paths, out=str(out), overrides=several)
    line = json.loads(out.read_text())
    assert line["captions"][0] == {"caption": line["caption"], "score": line["score"]}
    scores = [one["score"] for one in line["captions"]]
    assert scores == sorted(scores, reverse=True)
    assert len({one["caption"] for one in line["captions"]}) == 3
    predict(best(finished_run), paths, overrides=several)
    printed = [row.split("\t")[1] for row in capsys.readouterr().out.splitlines()]
    assert printed == [one["caption"] for one in line["captions"]]


def test_bfloat16_by_choice_scores_nearly_alike(finished_run: Path, photos: Path, tmp_path: Path):
    scores = []
    for precision in ("32", "bf16"):
        out = tmp_path / f"{precision}.jsonl"
        predict(best(finished_run), [str(photos / "a.jpg")], out=str(out), precision=precision)
        scores.append(json.loads(out.read_text())["score"])
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)


def test_forced_words_are_said(finished_run: Path, photos: Path, capsys):
    words = ["decoding=beam", "decoding.forced_words=[red,[star,stars]]"]
    predict(best(finished_run), [str(photos)], overrides=words)
    for row in capsys.readouterr().out.splitlines():
        assert "red" in row.split("\t")[1].split()
        assert "star" in row


def test_one_bad_file_does_not_stop_the_rest(finished_run: Path, photos: Path, capsys):
    (photos / "a2.jpg").write_bytes(b"")
    assert predict(best(finished_run), [str(photos)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "a2.jpg" in err
    assert "1 of 4" in err


def test_predict_works_in_an_empty_folder_from_the_command_line(
    finished_run: Path, photos: Path, tmp_path: Path
):
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "captionlab.cli.main",
            "predict",
            best(finished_run),
            str(photos / "a.jpg"),
        ],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(photos / "a.jpg") + "\t")
    assert list(empty.iterdir()) == []


def test_load_captioner_takes_a_photo(finished_run: Path, photos: Path):
    caption = load_captioner(best(finished_run))(photos / "a.jpg")
    assert isinstance(caption, str)
    assert caption


def test_a_batch_says_the_same_as_one_by_one(finished_run: Path, photos: Path):
    captioner = load_captioner(best(finished_run), decoding=["decoding=beam"])
    paths = [photos / "a.jpg", photos / "b.png", photos / "deep" / "c.jpg"]
    assert captioner.batch(paths) == [captioner(path) for path in paths]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"paths": ["nowhere.jpg"]}, "nowhere.jpg"),
        ({"paths": ["https://a.b/c.jpg"]}, "https://a.b/c.jpg is an address, .*download it first"),
        ({"out": "s3://bucket/x.jsonl"}, "--out s3://bucket/x.jsonl is an address"),
        ({"out": "."}, "--out . is a folder"),
        ({"device": "cuda:77"}, "cuda:77"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"out": "no/such/folder/x.jsonl"}, "no/such/folder"),
        ({"overrides": ["decoding=bean"]}, "beam"),
    ],
)
def test_a_wrong_argument_is_named(finished_run: Path, photos: Path, arguments: dict, part: str):
    given = {"paths": [str(photos)], **arguments}
    with pytest.raises(UserError, match=part):
        predict(best(finished_run), given.pop("paths"), **given)


def test_a_folder_without_images_is_named(finished_run: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        predict(best(finished_run), [str(tmp_path / "empty")])


def test_a_pipe_and_a_link_get_the_lines(finished_run: Path, photos: Path, tmp_path: Path):
    pipe, link = tmp_path / "pipe", tmp_path / "link.jsonl"
    os.mkfifo(pipe)
    link.symlink_to("real.jsonl")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    for out in (pipe, link):
        assert predict(best(finished_run), [str(photos / "a.jpg")], out=str(out)) == 0
    reader.join(10)
    assert json.loads(got[0])["image"] == str(photos / "a.jpg")
    assert (tmp_path / "real.jsonl").read_text() == got[0]
    assert pipe.is_fifo()
    assert link.is_symlink()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode there")
def test_a_name_that_is_no_utf8_can_be_read_back(finished_run: Path, photos: Path, tmp_path: Path):
    odd = os.fsdecode(os.fsencode(photos) + b"/\xff.jpg")
    os.rename(photos / "a.jpg", odd)
    out = tmp_path / "captions.jsonl"
    assert predict(best(finished_run), [odd], out=str(out)) == 0
    assert json.loads(out.read_text(encoding="utf-8"))["image"] == odd
