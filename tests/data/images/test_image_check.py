from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.images import check as image_check
from captionlab.data.images.check import drop_broken, find_broken
from captionlab.data.images.files import broken_reason
from captionlab.data.records import CaptionRecord
from data_support import jpeg_bytes, photo, save


def some_broken(folder: Path) -> list[CaptionRecord]:
    for i in range(4):
        save(folder / f"{i}.jpg", photo())
    (folder / "4.jpg").write_bytes(b"")
    (folder / "5.jpg").write_bytes(jpeg_bytes()[:900])
    return [CaptionRecord(i, folder / f"{i}.jpg", ("A dog",)) for i in range(6)]


def test_broken_images_are_counted_and_named_with_their_reasons(tmp_path: Path):
    with pytest.raises(UserError) as error:
        drop_broken(some_broken(tmp_path), split="val")
    sentence = str(error.value)
    assert "2 of the 6 images of split 'val' are broken" in sentence
    assert "4.jpg is empty (0 bytes); " in sentence
    assert "5.jpg is cut off" in sentence
    assert "data.broken_images=skip" in sentence


def test_broken_images_can_be_skipped(tmp_path: Path, caplog):
    kept = drop_broken(some_broken(tmp_path), policy="skip", split="val")
    assert [record.image_id for record in kept] == [0, 1, 2, 3]
    assert "2 of the 6 images of split 'val' are broken; 4 are left" in caplog.text


def test_sound_images_are_remembered_until_they_change(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_check, "REMEMBER_FROM", 2)
    paths = [record.image for record in some_broken(tmp_path)]
    asked = []
    monkeypatch.setattr(image_check, "broken_reason", lambda p: asked.append(p) or broken_reason(p))
    assert set(find_broken(paths)) == set(paths[4:])
    assert len(asked) == 6
    asked.clear()
    assert set(find_broken(paths)) == set(paths[4:])
    assert sorted(asked) == paths[4:]
    asked.clear()
    paths[0].write_bytes(b"<html>")
    assert set(find_broken(paths)) == {paths[0], *paths[4:]}
    assert sorted(asked) == [paths[0], *paths[4:]]


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(image_check, "REMEMBER_FROM", 1)
    assert find_broken([save(tmp_path / "a.jpg", photo())]) == {}
