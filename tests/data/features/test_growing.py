"""A store that grows: what is there is not made again, a half-written shard is never read."""

from __future__ import annotations

import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.growing import add_records, identities_of, missing_records
from captionlab.data.features.store import FeatureStore
from captionlab.data.records import CaptionRecord

KEY = {"encoder": "tiny"}


def photographs(folder: Path, *names: str) -> list[CaptionRecord]:
    for name in names:
        (folder / name).write_text(name)
    return [CaptionRecord(name, folder / name, ("a",)) for name in names]


class Encoder:
    """Sees the length of a file; remembers what it was shown, and can be stopped."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.seen: list[str] = []
        self.stop_at = stop_at

    def __call__(self, records) -> Memory:
        self.seen += [record.image_id for record in records]
        if len(self.seen) >= self.stop_at:
            raise KeyboardInterrupt
        values = torch.tensor([float(record.image.stat().st_size) for record in records])
        slots = values[:, None, None].expand(-1, 2, 3)
        return Memory(slots, slots.mean(1), torch.ones(len(records), 2, dtype=torch.bool))


def fill(path: Path, records: list[CaptionRecord], encode: Encoder) -> FeatureStore:
    known = identities_of(records)
    missing = missing_records(path, records, known)
    add_records(path, missing, known, KEY, encode, dtype="float32", batch_size=2, shard_size=2)
    return FeatureStore(path, known)


def test_only_what_is_missing_is_looked_at(tmp_path: Path):
    records, encode = photographs(tmp_path, "a", "bb", "ccc", "dddd", "eeeee"), Encoder()
    fill(tmp_path / "s", records[:3], encode)
    store = fill(tmp_path / "s", records, encode)
    assert encode.seen == ["a", "bb", "ccc", "dddd", "eeeee"]
    assert [store.read(r.image_id).slots[0, 0] for r in records] == [1, 2, 3, 4, 5]


def test_a_store_goes_on_where_it_was_killed(tmp_path: Path):
    records = photographs(tmp_path, "a", "bb", "ccc", "dddd", "eeeee")
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "s", records, Encoder(stop_at=4))
    assert len(FeatureStore(tmp_path / "s")) == 2
    # of the shard that was being written when the light went out, some files are there
    (tmp_path / "s" / "slots-00001.npy").write_bytes(b"half")
    (tmp_path / "s" / "shard-00001.json").write_text('{"ids": ["ccc"], "identities": ["?"]}')
    encode = Encoder()
    store = fill(tmp_path / "s", records, encode)
    assert encode.seen == ["ccc", "dddd", "eeeee"]
    assert store.read("ccc").slots[0, 0] == 3


def test_a_file_that_was_changed_is_looked_at_again(tmp_path: Path):
    records, encode = photographs(tmp_path, "a", "b"), Encoder()
    before = fill(tmp_path / "s", records, encode)
    (tmp_path / "a").write_text("longer")
    os.utime(tmp_path / "b", ns=(5, 5))  # other content of the same size
    store = fill(tmp_path / "s", records, encode)
    assert encode.seen == ["a", "b", "a", "b"]
    assert (store.read("a").slots[0, 0], before.read("a").slots[0, 0]) == (6, 1)
    FeatureStore(tmp_path / "s").require_images(records)


def test_an_id_of_two_images_is_refused(tmp_path: Path):
    one, two = photographs(tmp_path, "1", "2")
    with pytest.raises(UserError, match="the image id 1 stands for two images"):
        identities_of([one, CaptionRecord(1, two.image, ("a",))])
    drawn = CaptionRecord("d", partial(np.zeros, 3), ("a",))
    assert identities_of([drawn, drawn])["d"].startswith("drawing ")


def test_a_store_goes_to_another_process_without_its_arrays(tmp_path: Path):
    store = fill(tmp_path / "s", photographs(tmp_path, *(c * 99 for c in "abcd")), Encoder())
    sent = pickle.dumps(store)
    assert b"NUMPY" not in sent
    again = pickle.loads(sent)
    assert again.read("a" * 99).slots[0, 0] == 99
    assert isinstance(again._shards[0][0], np.memmap)


def test_an_index_without_a_number_of_shards_is_damaged(tmp_path: Path):
    records = photographs(tmp_path, "a")
    fill(tmp_path / "s", records, Encoder())
    (tmp_path / "s" / "index.json").write_text('{"shards": "1"}')
    with pytest.raises(UserError, match=r"index\.json tells no shards"):
        missing_records(tmp_path / "s", records, identities_of(records))
