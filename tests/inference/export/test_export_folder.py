"""A new exported folder is whole or not there, and what stood there is not lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.inference.export.folder import MANIFEST, new_export, write_manifest


def write(folder: Path, text: str, **options: bool) -> None:
    with new_export(folder, **options) as temporary:
        (temporary / "weights.bin").write_text(text)
        write_manifest(temporary, {"format": "safetensors"})


def test_a_folder_lists_its_files_with_size_and_digest(tmp_path: Path):
    write(tmp_path / "a" / "b", "abc")
    manifest = json.loads((tmp_path / "a" / "b" / MANIFEST).read_text())
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180
    assert manifest["files"] == {"weights.bin": {"bytes": 3, "sha256": digest}}


def test_a_failed_export_leaves_nothing(tmp_path: Path):
    def interrupted() -> None:
        with new_export(tmp_path / "out") as temporary:
            (temporary / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_is_replaced_only_when_asked(tmp_path: Path):
    write(tmp_path / "out", "first")
    with pytest.raises(UserError, match="--overwrite"):
        write(tmp_path / "out", "second")
    write(tmp_path / "out", "second", overwrite=True)
    assert (tmp_path / "out" / "weights.bin").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_export_stays_when_the_new_one_fails(tmp_path: Path):
    write(tmp_path / "out", "first")
    with pytest.raises(ZeroDivisionError), new_export(tmp_path / "out", overwrite=True):
        _ = 1 / 0
    assert (tmp_path / "out" / "weights.bin").read_text() == "first"


@pytest.mark.parametrize("name", ["README.md", "weights.bin", "notes/mine.txt", ".git/HEAD"])
def test_what_people_put_into_an_export_is_never_overwritten(tmp_path: Path, name: str):
    write(tmp_path / "out", "first")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("by hand")
    with pytest.raises(UserError, match=r"move it away"):
        write(tmp_path / "out", "second", overwrite=True)
    assert mine.read_text() == "by hand"


def test_a_folder_of_other_things_is_refused_even_to_overwrite(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        write(tmp_path, "x", overwrite=True)


def test_a_link_to_a_folder_is_followed(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(tmp_path / "out", "x")
    assert (tmp_path / "disk" / "weights.bin").exists()
    assert (tmp_path / "out").is_symlink()
