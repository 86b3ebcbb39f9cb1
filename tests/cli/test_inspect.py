"""captionlab inspect: what it prints, its page, its status."""

import shutil
from pathlib import Path

import pytest

import captionlab
from captionlab.cli.inspect import inspect
from captionlab.cli.main import main
from captionlab.core.errors import UserError
from captionlab.data.inspection.result import PicturesSeen, SplitSize
from data_support import photo, write_text


def folder(root: Path, *, duplicate: bool = False) -> Path:
    rows = ["image,caption,split"]
    for number in range(12):
        photo(60 + number, 40 + 2 * number).save(root / f"{number}.png")
        split = "train" if number < 8 else "val" if number < 10 else "test"
        rows += [f"{number}.png,a dog number {number},{split}"] * (2 if number == 3 else 1)
    if duplicate:
        shutil.copy(root / "0.png", root / "11.png")
    write_text(root / "captions.csv", "\n".join(rows))
    return root


def data(root: Path) -> list[str]:
    return ["data=auto", f"data.root={root}", "data.tokenizer.threshold=1"]


def test_sound_data_end_with_0_and_a_page(tmp_path: Path, capsys):
    root = folder(tmp_path)
    assert inspect(data(root), page=str(tmp_path / "page.html")) == 0
    printed = capsys.readouterr().out
    assert "train      8 images, 9 captions, 1.1 an image" in printed
    assert printed.count("\nsample ") == 12
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count('<li class="card"') == 12
    assert "a dog number 3" in page


def test_a_picture_in_two_splits_ends_with_2(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *data(folder(tmp_path, duplicate=True))])
    assert ended.value.code == 2
    assert "train 0.png = test 11.png" in capsys.readouterr().out


def test_the_function_returns_what_the_command_prints(tmp_path: Path, capsys):
    root = folder(tmp_path, duplicate=True)
    found = captionlab.inspect(data(root), page=tmp_path / "page.html")
    assert capsys.readouterr().out.count("\n") == 1  # the reader's line
    assert found.splits["train"] == SplitSize(8, 9)
    assert found.lengths is not None
    assert (found.lengths.shortest, found.lengths.captions) == (4, 9)
    assert found.vocabulary is not None
    assert found.vocabulary.unknown == 0
    assert found.unknown["val"] == pytest.approx(0.25)
    assert found.pictures == PicturesSeen(12, 0, (60, 40), (70, 60))
    assert len(found.problems) == 1
    assert (tmp_path / "page.html").is_file()
    assert inspect(data(root)) == 2
    assert capsys.readouterr().out.partition("\n")[2] == f"{found}\n"


def test_the_function_refuses_as_the_others_do(tmp_path: Path):
    with pytest.raises(UserError, match=r"overrides are a list: inspect\(\['data=auto'\]\)"):
        captionlab.inspect("data=auto")
    with pytest.raises(UserError, match=r"page=.*there is no folder"):
        captionlab.inspect(data(folder(tmp_path)), page=tmp_path / "none/page.html")


def test_a_missing_picture_costs_neither_the_look_nor_the_page(tmp_path: Path, capsys):
    (folder(tmp_path) / "5.png").unlink()
    assert inspect(data(tmp_path), page=str(tmp_path / "page.html")) == 0
    assert "5.png does not exist" in capsys.readouterr().out


def test_a_page_without_a_place_is_refused_before_the_look(tmp_path: Path):
    with pytest.raises(UserError, match="--html"):
        inspect(data(folder(tmp_path)), page=str(tmp_path / "none/page.html"))
