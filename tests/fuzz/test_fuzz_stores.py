"""Stored features, regions, statistics, word vectors and what a run left, changed at random."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.core.memory import Memory
from captionlab.data.features.growing import missing_records
from captionlab.data.features.regions import open_features
from captionlab.data.features.store import FeatureStore, write_store
from captionlab.data.records import CaptionRecord
from captionlab.metrics.bootstrap import Statistic, intervals
from captionlab.metrics.statistics_file import StatisticsFile, write_statistics
from captionlab.runs.run import read_run
from captionlab.runs.run_files import read_captions, read_references
from captionlab.text.word_vectors import read_word_vectors
from fuzz_support import changed, cuts, ends_well

RANDOM = np.random.default_rng(0)
SLOTS = RANDOM.normal(size=(3, 8)).astype(np.float32)
BOXES = np.array([[0, 0, 50, 100]] * 3, np.float32)
WORDS = ("", "", "", "", "dog", "runs")
VECTORS = b"dog 1.5 2.5\nruns 0.5 -1\n"


def store(folder: Path) -> None:
    def encode(records: object) -> Memory:
        slots = torch.from_numpy(np.stack([SLOTS] * 2))
        return Memory(slots, slots.mean(1), torch.ones(2, 3, dtype=torch.bool))

    records = [CaptionRecord(number, Path(f"{number}.jpg"), ("a",)) for number in range(2)]
    write_store(folder, records, {"encoder": "tiny"}, encode)


def read_store(folder: Path) -> None:
    records = [CaptionRecord(number, Path(f"{number}.jpg"), ("a",)) for number in range(2)]
    assert len(missing_records(folder, records, {"0": "", "1": "?"})) in (1, 2)
    opened = FeatureStore(folder)
    opened.require_images([CaptionRecord(0, Path("0.jpg"), ("a",))]) if 0 in opened else None
    for number in (0, 1):
        if number in opened:
            memory = opened.read(number)
            assert memory.mask.shape == memory.slots.shape[:1]
            assert memory.pooled.ndim == 1
            assert len(memory.pooled) > 0


def npz(folder: Path) -> None:
    np.savez(folder / "7.npz", feat=SLOTS, bbox=BOXES, image_w=100, image_h=200)


def tsv(folder: Path) -> None:
    coded = [base64.b64encode(array.tobytes()).decode() for array in (BOXES, SLOTS)]
    line = "\t".join(["7", "100", "200", "3", *coded]) + "\n"
    (folder / "a.tsv").write_text(line * 2)


def h5(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.h5", "w") as file:
        file["7_features"], file["7_boxes"] = SLOTS, BOXES


def read_regions(path: Path) -> None:
    regions = open_features(path)
    if "7" in regions:
        memory = regions.read("7")
        assert torch.isfinite(memory.slots).all()
        assert memory.mask.shape == memory.slots.shape[:1]


def statistics(folder: Path) -> None:
    parts = {
        "cider": Statistic(RANDOM.random((4, 1))),
        "bleu_1": Statistic(RANDOM.random((4, 10)), "bleu_1"),
    }
    write_statistics(folder / "a.npz", [1, 2, "c", "d"], parts)


def read_statistics(path: Path) -> None:
    stored = StatisticsFile(path)
    found = {name: stored[name] for name in ("cider", "bleu_1") if name in stored}
    if found:
        intervals(found, resamples=5)


def run(folder: Path) -> None:
    (folder / "config.yaml").write_text("seed: 1\ndata:\n  root: ${seed}\nmodel: {name: tiny}\n")
    (folder / "metrics.csv").write_text("epoch,val/cider\n0,0.5\n1,0.25\n")
    (folder / "results.json").write_text(json.dumps({"test/cider": 0.5, "data": {"name": "a"}}))
    pair = {"image_id": 1, "caption": "a dog"}
    (folder / "captions.json").write_text(json.dumps([pair]))
    (folder / "references.json").write_text(json.dumps({"annotations": [pair]}))


def read_run_folder(folder: Path) -> None:
    read_run(folder)
    read_captions(folder / "captions.json")
    read_references(folder / "references.json")


def vectors(folder: Path) -> None:
    (folder / "a.txt").write_bytes(VECTORS)
    (folder / "a.gz").write_bytes(gzip.compress(VECTORS))
    binary = b"".join(word + np.array([1, 2], "<f4").tobytes() for word in (b"dog ", b"runs "))
    (folder / "a.bin").write_bytes(b"2 2\n" + binary)


def bert(folder: Path) -> None:
    (folder / "vocab.txt").write_text("dog\nruns\n")
    buffer = io.BytesIO()
    torch.save({"bert.word_embeddings.weight": torch.ones(2, 3)}, buffer)
    (folder / "pytorch_model.bin").write_bytes(buffer.getvalue())


# what is written, which of its files are changed, and how the whole is read
FORMS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], Callable[[Path], object]]] = {
    "store": (
        store,
        ("index.json", "shard-00000.json", "slots-00000.npy", "pooled-00000.npy", "mask-00000.npy"),
        read_store,
    ),
    "npz": (npz, ("7.npz",), read_regions),
    "tsv": (tsv, ("a.tsv",), lambda folder: read_regions(folder / "a.tsv")),
    "h5": (h5, ("a.h5",), lambda folder: read_regions(folder / "a.h5")),
    "statistics": (statistics, ("a.npz",), lambda folder: read_statistics(folder / "a.npz")),
    "run": (
        run,
        ("config.yaml", "metrics.csv", "results.json", "captions.json", "references.json"),
        read_run_folder,
    ),
    "vectors": (
        vectors,
        ("a.txt", "a.gz", "a.bin"),
        lambda folder: [
            read_word_vectors(folder / name, WORDS) for name in ("a.txt", "a.gz", "a.bin")
        ],
    ),
    "bert": (
        bert,
        ("vocab.txt", "pytorch_model.bin"),
        lambda folder: read_word_vectors(folder, WORDS),
    ),
}


def try_all(name: str, folder: Path, changes: Callable[[bytes], list[bytes]]) -> None:
    write, files, read = FORMS[name]
    write(folder)
    for file in files:
        whole = (folder / file).read_bytes()
        for number, content in enumerate(changes(whole)):
            (folder / file).write_bytes(content)
            ends_well(lambda: read(folder), folder, (name, file, number))
        (folder / file).write_bytes(whole)
    assert ends_well(lambda: read(folder), folder, name), "what was not changed is read"


@pytest.mark.parametrize("name", FORMS)
def test_a_file_cut_at_fifty_places_is_read_or_refused(name: str, tmp_path: Path):
    try_all(name, tmp_path, cuts)


@pytest.mark.parametrize("name", FORMS)
def test_a_changed_file_is_read_or_refused(name: str, tmp_path: Path):
    try_all(name, tmp_path, lambda whole: [changed(whole, seed) for seed in range(15)])


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_many_changed_files(name: str, tmp_path: Path):
    try_all(name, tmp_path, lambda whole: [changed(whole, seed) for seed in range(15, 215)])
