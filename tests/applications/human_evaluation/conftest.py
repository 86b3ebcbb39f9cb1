from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captionlab.applications.human_evaluation.study import Settings, Study
from captionlab.applications.human_evaluation.systems import read_systems, shared_pictures
from data_support import write_images
from human_evaluation_support import NAMES, write_captions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos", NAMES)
    return tmp_path / "photos"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write_captions(tmp_path / "run-secret-a" / "captions.json", "alpha"),
        write_captions(tmp_path / "secret-b.json", "beta"),
    ]


@pytest.fixture
def new_study(folder: Path, files: list[Path], tmp_path: Path) -> Iterator[Callable[..., Study]]:
    """Make a study of the two files with some settings."""
    studies: list[Study] = []

    def new_study(**settings: Any) -> Study:
        study = Study(tmp_path / f"study-{len(studies)}.sqlite", new=True)
        studies.append(study)
        systems = read_systems(files, folder)
        study.set_up(systems, shared_pictures(systems), Settings(**settings))
        return study

    yield new_study
    for study in studies:
        study.close()
