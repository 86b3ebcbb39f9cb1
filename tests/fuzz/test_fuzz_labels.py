"""Stores and files of labels and judgments, changed at random: a result or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from captionlab.applications.human_evaluation.analysis import analyze
from captionlab.applications.human_evaluation.judgments import (
    Judgment,
    read_judgments,
    write_judgments,
)
from captionlab.applications.human_evaluation.tables import tables
from captionlab.applications.label.imports import import_file
from captionlab.applications.label.label_studio import write_label_studio
from captionlab.applications.label.store import LabelStore, NewAction, Proposal
from captionlab.core.errors import UserError
from fuzz_support import changed, cuts

NAMES = ["a.png", "deep/b.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, its Label Studio export, JSON Lines and judgments, all whole."""
    folder = tmp_path_factory.mktemp("labels")
    store = LabelStore(folder / "labels.sqlite")
    store.add_pictures(NAMES)
    for number in range(20):
        caption = f"caption {number} 犬"
        store.act([NewAction(1 + number % 2, "Ann", "add", f"key-{number}", caption)])
    store.undo("Ann", "undo-1")
    store.keep_proposals("m", {1: [Proposal("a dog", -1.0)]})
    write_label_studio(store, folder / "tasks.json")
    store.close()
    (folder / "lines.jsonl").write_text('{"image": "a.png", "captions": ["x", "y"]}\n' * 3)
    rows = [Judgment("J", f"{n}", "a", "b", "ab"[n % 2], correctness_a=3) for n in range(6)]
    write_judgments(rows, folder / "judgments.csv")
    return folder


def use_store(file: Path) -> None:
    store = LabelStore(file)
    try:
        store.add_pictures(NAMES)
        store.deal("Zoe")
        store.act([NewAction(1, "Zoe", "add", "key-of-zoe", "a dog")])
        store.undo("Zoe", "undo-of-zoe")
        write_label_studio(store, file.with_name("written.json"))
    finally:
        store.close()


def use_import(file: Path) -> None:
    store = LabelStore(file.with_name("new.sqlite"))
    try:
        store.add_pictures(NAMES)
        import_file(store, file)
        store.states()
    finally:
        store.close()


def use_judgments(file: Path) -> None:
    tables(analyze(read_judgments(file)))


@pytest.mark.parametrize(
    ("name", "use", "places"),
    [
        ("labels.sqlite", use_store, 20),
        ("tasks.json", use_import, 16),
        ("lines.jsonl", use_import, 12),
        ("judgments.csv", use_judgments, 40),
    ],
)
def test_a_changed_file_is_used_or_refused_in_a_sentence(
    folder: Path, tmp_path: Path, name: str, use: Callable[[Path], None], places: int
):
    whole = (folder / name).read_bytes()
    variants = [*cuts(whole, places // 2), *(changed(whole, seed) for seed in range(places))]
    sentences = []
    for content in variants:
        for left in tmp_path.iterdir():
            left.unlink()
        (tmp_path / name).write_bytes(content)
        try:
            use(tmp_path / name)
        except UserError as error:
            sentences.append(str(error))
    assert len(sentences) >= places // 2
    assert all(0 < len(sentence) < 3000 for sentence in sentences)
