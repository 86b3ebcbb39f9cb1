"""The page that explains captions, from the command line."""

import re
from pathlib import Path

import pytest
from PIL import Image

from captionlab.cli.main import main


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (90, 60), (40, 99, 10)).save(tmp_path / "a <b>.png")
    return tmp_path / "a <b>.png"


def run(finished_run: Path, *arguments: object) -> int:
    checkpoint = str(finished_run / "checkpoints" / "best.ckpt")
    quick = ["--masks", "20", "--device", "cpu"]
    with pytest.raises(SystemExit) as end:
        main(["explain", checkpoint, *map(str, arguments), *quick])
    return int(end.value.code or 0)


def test_page_shows_every_readable_photo(finished_run: Path, photo: Path, tmp_path: Path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "page.html"
    assert run(finished_run, tmp_path, "--out", out, "--method", "occlusion", "--word", "1") == 1
    assert "broken.png" in capsys.readouterr().err
    page = out.read_text(encoding="utf-8")
    assert len(re.findall("<section", page)) == 1
    assert "a &lt;b&gt;.png" in page
    assert "--ratio: 1.5000" in page


def test_all_methods_of_a_given_caption(finished_run: Path, photo: Path, tmp_path: Path, capsys):
    pytest.importorskip("captum")
    out = tmp_path / "page.html"
    assert run(finished_run, photo, "--out", out, "--caption", "a red star", "--word", "star") == 0
    printed = capsys.readouterr().out
    assert re.search(r"3 star .*attention .*occlusion .*integrated gradients", printed)
    page = out.read_text(encoding="utf-8")
    assert page.count("<tr>") == 4
    assert page.count("<polyline") == 3 + 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "lime"], "--method lime"),
        (["--caption", "a red star", "--word", "dog"], "has no such word"),
        (["--caption", "a red unicorn"], "does not know all words"),
        (["--ask", "what color is it?"], "trained without questions"),
        (["--masks", "1"], "--masks"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(
    finished_run: Path, photo: Path, tmp_path: Path, capsys, arguments: list[str], message: str
):
    out = tmp_path / "page.html"
    checkpoint = str(finished_run / "checkpoints" / "best.ckpt")
    with pytest.raises(SystemExit) as end:
        main(["explain", checkpoint, str(photo), "--out", str(out), "--masks", "20", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
