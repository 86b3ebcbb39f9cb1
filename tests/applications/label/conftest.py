from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from captionlab.applications.label.store import LabelStore
from data_support import write_images

NAMES = ["a.png", "b.png", "c.png", "deep/d.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos", NAMES[:3])
    write_images(tmp_path / "photos" / "deep", ["d.png"])
    return tmp_path / "photos"


@pytest.fixture
def store(folder: Path) -> Iterator[LabelStore]:
    store = LabelStore(folder / "labels.sqlite")
    store.add_pictures(NAMES)
    yield store
    store.close()
