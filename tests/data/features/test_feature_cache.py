"""The cache of stores stays below its limit: the oldest go, and never one that is in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from captionlab.data.features.cache import FeatureCache


def cache_of(folder: Path, *ages: int, limit: int = 1000) -> FeatureCache:
    """Return a cache with stores of 300 bytes, the first used so many seconds ago."""
    cache = FeatureCache(folder, limit)
    for number, age in enumerate(ages):
        with cache.used(f"s{number}"):
            assert cache.reserve(f"s{number}", 299) == 0
            (folder / f"s{number}" / "slots.npy").write_bytes(b"x" * 299)
            cache.release(f"s{number}")
        os.utime(folder / f"s{number}" / "used", (1e9 - age, 1e9 - age))
    return cache


def stores(cache: FeatureCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {"locks"}


def test_the_stores_used_longest_ago_go_first(tmp_path: Path):
    cache = cache_of(tmp_path, 5, 50, 1)
    with cache.used("new"):
        assert cache.reserve("new", 300) == 0
    assert stores(cache) == {"s0", "s2", "new"}


def test_a_store_in_use_stays(tmp_path: Path):
    cache = cache_of(tmp_path, 5, 50, 1)
    with cache.used("s1"), cache.used("new"):
        os.utime(tmp_path / "s1" / "used", (0, 0))
        assert cache.reserve("new", 300) == 0
    assert stores(cache) == {"s1", "s2", "new"}
    with cache.used("s1"), cache.used("s2"), cache.used("new"):
        assert cache.reserve("new", 600) > 0
    assert {"s1", "s2"} <= stores(cache)


def test_what_cannot_fit_evicts_nothing(tmp_path: Path):
    cache = cache_of(tmp_path, 5, 50)
    assert cache.reserve("new", 1200) == 200
    assert stores(cache) == {"s0", "s1"}


def test_a_store_that_is_being_filled_counts_whole(tmp_path: Path):
    cache = cache_of(tmp_path)
    with cache.used("one"), cache.used("two"):
        assert cache.reserve("one", 900) == 0
        assert cache.reserve("two", 200) == 100
        cache.release("one")
        assert cache.reserve("two", 200) == 0


@pytest.mark.parametrize("reserved", [b"", b"\xff", b"9" * 50, b"-5"], ids=repr)
def test_a_damaged_reservation_is_none(tmp_path: Path, reserved: bytes):
    cache = cache_of(tmp_path, 5)
    (tmp_path / "s0" / "reserved").write_bytes(reserved)
    with cache.used("new"):
        cache.reserve("new", 600)
    assert "new" in stores(cache)


def test_folders_of_others_are_never_removed(tmp_path: Path):
    cache = cache_of(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.json").write_bytes(b"x" * 900)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    cache_of(elsewhere, 99)
    (tmp_path / "link").symlink_to(elsewhere / "s0")
    with cache.used("new"):
        assert cache.reserve("new", 999) == 0
    assert {"mine", "link"} <= stores(cache)
    assert (elsewhere / "s0" / "slots.npy").is_file()
