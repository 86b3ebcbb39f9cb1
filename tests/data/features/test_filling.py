"""A run's hold on its store: one process fills it, a damaged one is replaced."""

from __future__ import annotations

import multiprocessing
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.cache import FeatureCache
from captionlab.data.features.filling import Filling, HeldStore
from captionlab.data.records import CaptionRecord

KEY = {"encoder": "tiny"}


def records_of(folder: Path, images: int = 200) -> list[CaptionRecord]:
    for number in range(images):
        (folder / str(number)).write_text("x")
    return [CaptionRecord(number, folder / str(number), ("a",)) for number in range(images)]


def see(records, count: multiprocessing.sharedctypes.Synchronized | None = None) -> Memory:
    if count is not None and len(records) > 1:  # a single one is looked at for its size
        with count.get_lock():
            count.value += len(records)
    slots = torch.tensor([float(r.image_id) for r in records])[:, None, None].expand(-1, 4, 3)
    return Memory(slots, slots.mean(1), torch.ones(len(records), 4, dtype=torch.bool))


def held(folder: Path, limit: int = 10**6) -> HeldStore:
    return HeldStore(FeatureCache(folder / "cache", limit), "store", KEY, "float32")


def filling(encode=see) -> Filling:
    return Filling(encode, 8, lambda images: nullcontext(lambda done: None))


def _work(folder: Path, records, count) -> None:
    with held(folder) as mine:
        store = mine.open(records, filling(partial(see, count=count)))
        assert store.read(150).slots[0, 0] == 150


def test_of_two_processes_one_fills_and_both_read(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    count = context.Value("i", 0)
    records = records_of(tmp_path)
    both = [context.Process(target=_work, args=(tmp_path, records, count)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert count.value == 200


def test_without_a_filling_an_incomplete_store_is_none(tmp_path: Path):
    records = records_of(tmp_path, 6)
    with held(tmp_path) as mine:
        assert mine.open(records, None) is None
        assert mine.open(records[:3], filling()) is not None
        assert mine.open(records, None) is None
        assert mine.open(records[1:3], None) is not None


@pytest.mark.parametrize(
    ("file", "content"),
    [("index.json", b"{"), ("slots-00000.npy", b"x"), ("shard-00000.json", b"[]")],
    ids=["index", "array", "shard"],
)
def test_a_damaged_store_is_removed_and_filled_anew(tmp_path: Path, file: str, content: bytes):
    records = records_of(tmp_path, 6)
    with held(tmp_path) as mine:
        path = mine.open(records, filling()).path
    (path / file).write_bytes(content)
    with held(tmp_path) as mine:
        assert mine.open(records, filling()).read(5).slots[0, 0] == 5


def test_a_damaged_store_in_use_is_left_to_who_uses_it(tmp_path: Path):
    records = records_of(tmp_path, 6)
    with held(tmp_path) as first:
        path = first.open(records, filling()).path
        (path / "index.json").write_bytes(b"{")
        with held(tmp_path) as second, pytest.raises(UserError, match="is damaged"):
            second.open(records, filling())


def test_a_store_of_another_key_is_not_read(tmp_path: Path):
    records = records_of(tmp_path, 6)
    with held(tmp_path) as mine:
        mine.open(records, filling())
    cache = FeatureCache(tmp_path / "cache", 10**6)
    with HeldStore(cache, "store", {"encoder": "other"}, "float32") as other:
        assert other.open(records, None) is None


def test_what_is_too_large_says_by_how_much(tmp_path: Path):
    with (
        held(tmp_path, limit=1000) as mine,
        pytest.raises(UserError, match=r"6 images takes .* GiB more than data\.features_cache_gib"),
    ):
        mine.open(records_of(tmp_path, 6), filling(lambda r: Memory(*(3 * [torch.ones(1, 9, 9)]))))
    assert not (tmp_path / "cache" / "store").exists()
