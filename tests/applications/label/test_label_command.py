import json
from pathlib import Path

import pytest

from captionlab.cli.main import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["label", *map(str, arguments)])
    return int(ended.value.code)


def test_import_and_export_by_command(folder: Path, capsys: pytest.CaptureFixture[str]):
    file = folder.parent / "in.jsonl"
    file.write_text('{"image": "a.png", "captions": ["a dog", "a brown dog"]}\n')
    assert run(folder, "--import", file) == 0
    assert "2 captions and 0 proposals of 1 pictures are in" in capsys.readouterr().out
    assert run(folder, "--export", folder / "captions.jsonl") == 0
    shown = capsys.readouterr().out
    assert f"python train.py data=jsonl data.root={folder}" in shown
    line = json.loads((folder / "captions.jsonl").read_text())
    assert line == {"image": "a.png", "image_id": 1, "captions": ["a dog", "a brown dog"]}
    assert run(folder, "--export", "sidecars") == 0
    assert (folder / "a.txt").read_text() == "a dog\na brown dog\n"
    assert run(folder, "--export", "labelstudio") == 0
    assert run(folder, "--import", folder / "label-studio.json") == 0


@pytest.mark.parametrize("what", ["mine.jsonl", "mine.json", "labelstudio"])
def test_an_export_takes_no_other_files_place(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str
):
    labels = folder.parent / "in.jsonl"
    labels.write_text('{"image": "a.png", "captions": ["a dog"]}\n')
    assert run(folder, "--import", labels) == 0
    file = folder / ("label-studio.json" if what == "labelstudio" else what)
    file.write_text("mine")
    to = what if what == "labelstudio" else file
    assert run(folder, "--export", to) == 2
    assert "is there already: say --overwrite to replace it" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert run(folder, "--export", to, "--overwrite") == 0
    assert "a dog" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--export", "out.jsonl"], "There is no file"),
        (["--export", "out.pdf"], "There is no file"),
        (["--import", "absent.json"], "There is no file"),
        (["--export", "sidecars", "--model", "best.ckpt"], "leave it out"),
        (["--port", "70000"], "is no port"),
        (["--store", "nowhere/at/all.sqlite"], "there is no folder"),
        (["--token-variable", "CAPTIONLAB_NO_SUCH"], "--token-variable wants the name"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    assert run(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_nothing_is_exported_before_there_is_a_caption(
    folder: Path, store: object, capsys: pytest.CaptureFixture[str]
):
    assert run(folder, "--export", folder / "captions.jsonl") == 2
    assert "holds no caption of the 4 pictures there yet" in capsys.readouterr().err
    assert not (folder / "captions.jsonl").exists()
