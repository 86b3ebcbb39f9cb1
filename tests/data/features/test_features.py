"""A feature store gives back what was put in, goes on where it stopped, and refuses what differs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.store import FeatureStore, require_all, stack, write_store
from captionlab.data.records import CaptionRecord

KEY = {"encoder": "tiny", "weights": "ab12", "fit": "stretch"}


def draw(number: int) -> np.ndarray:
    return np.full((2, 2, 3), number, np.uint8)


RECORDS = [CaptionRecord(f"image-{i}", partial(draw, i), ("a",)) for i in range(10)]


def encode(records) -> Memory:
    values = torch.tensor([float(r.image_id.split("-")[1]) for r in records])
    slots = values[:, None, None] + torch.arange(12.0).view(3, 4) / 16
    return Memory(slots, slots.mean(1), torch.ones(len(records), 3, dtype=torch.bool))


def write(path: Path, records=RECORDS, key=KEY, encode=encode, **how) -> FeatureStore:
    write_store(path, records, key, encode, batch_size=2, shard_size=4, **how)
    return FeatureStore(path)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_read_is_what_was_written(tmp_path: Path, dtype: str):
    store = write(tmp_path / "s", dtype=dtype)
    assert len(store) == 10
    for record in RECORDS:
        memory, expected = store.read(record.image_id), encode([record])
        assert str(memory.slots.dtype) == f"torch.{dtype}"
        torch.testing.assert_close(memory.slots.float(), expected.slots[0], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(memory.pooled.float(), expected.pooled[0], atol=2e-3, rtol=1e-3)
        assert memory.mask.all()


def test_a_pooled_vector_may_have_another_width(tmp_path: Path):
    def embedded(records) -> Memory:
        memory = encode(records)
        return Memory(memory.slots, memory.pooled.repeat(1, 2)[:, :7], memory.mask)

    store = write(tmp_path / "s", encode=embedded, dtype="float32")
    memories = [store.read(record.image_id) for record in RECORDS]
    torch.testing.assert_close(stack(memories).pooled, embedded(RECORDS).pooled)


def test_an_interrupted_extraction_goes_on_with_the_next_shard(tmp_path: Path):
    seen: list[str] = []

    def counted(records) -> Memory:
        seen.extend(r.image_id for r in records)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return encode(records)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "s", encode=counted)
    with pytest.raises(UserError, match="no finished feature store"):
        FeatureStore(tmp_path / "s")
    store = write(tmp_path / "s", encode=counted)
    assert seen[8:] == [f"image-{i}" for i in range(4, 10)]
    torch.testing.assert_close(
        store.read("image-9").slots, write(tmp_path / "t").read("image-9").slots
    )


def test_a_key_that_does_not_fit_is_told_in_words(tmp_path: Path):
    store = write(tmp_path / "s")
    store.require_key(KEY)
    with pytest.raises(UserError, match="weights is ab12 in the store and cd34 here"):
        store.require_key({**KEY, "weights": "cd34"})
    with pytest.raises(UserError, match="another encoder"):
        write(tmp_path / "s", key={**KEY, "fit": "crop"})
    with pytest.raises(UserError, match="other images"):
        write(tmp_path / "s", records=RECORDS[:5])


def test_another_image_under_the_same_id_is_noticed(tmp_path: Path):
    store = write(tmp_path / "s")
    store.require_images(RECORDS)
    changed = [CaptionRecord(r.image_id, partial(draw, 77), ("a",)) for r in RECORDS]
    with pytest.raises(UserError, match="another image under the id 'image-0'"):
        store.require_images(changed)
    file = tmp_path / "image.jpg"
    file.write_bytes(b"123")
    photo = [CaptionRecord("p", file, ("a",))]
    store = write(tmp_path / "f", photo, encode=lambda r: encode(RECORDS[:1]))
    store.require_images(photo)
    file.write_bytes(b"1234")
    with pytest.raises(UserError, match=r"3 bytes, here image\.jpg, 4 bytes"):
        store.require_images(photo)


def test_images_without_features_are_named(tmp_path: Path):
    more = [*RECORDS, CaptionRecord("other", Path("x.jpg"), ("a",))]
    with pytest.raises(UserError, match=r"1 images of the split 'val' \(other\)"):
        require_all(write(tmp_path / "s"), more, "val")


def test_numbers_too_large_for_half_precision_are_refused(tmp_path: Path):
    def large(records) -> Memory:
        memory = encode(records)
        return Memory(memory.slots * 1e6, memory.pooled, memory.mask)

    with pytest.raises(UserError, match="dtype=float32"):
        write(tmp_path / "s", encode=large)


def test_images_of_unequal_numbers_of_slots_are_padded():
    one = Memory(torch.ones(2, 4), torch.ones(4), torch.ones(2).bool(), torch.ones(2, 4))
    two = Memory(torch.ones(3, 4), torch.zeros(4), torch.ones(3).bool(), torch.ones(3, 4))
    both = stack([one, two])
    assert both.mask.tolist() == [[True, True, False], [True, True, True]]
    assert both.slots.sum((1, 2)).tolist() == [8.0, 12.0]
    assert both.boxes is not None
    assert both.boxes[0, 2].tolist() == [0.0] * 4


def test_the_index_is_written_last(tmp_path: Path):
    write(tmp_path / "s")
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    assert (index["images"], index["shards"], index["key"]) == (10, 3, KEY)


def damage(store: Path, name: str, content: object) -> None:
    """Put something else in the place of a store's file: text, bytes, an array, or a change of JSON."""
    file = store / name
    if isinstance(content, dict) and file.is_file():
        file.write_text(json.dumps(json.loads(file.read_text()) | content))
    elif isinstance(content, np.ndarray):
        np.save(file, content, allow_pickle=True)
    elif content is None:
        file.unlink()
    else:
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("index.json", b"{", "index.json is not JSON"),
        ("index.json", b"[" * 100_000, "index.json is not JSON"),
        ("index.json", b"\xff\xfe", "index.json is not JSON"),
        ("index.json", [1], "index.json holds no object"),
        ("index.json", {"format": {"a": 1}}, "has format"),
        ("index.json", {"key": None}, "tells no key or no shards"),
        ("index.json", {"shards": "3"}, "tells no key or no shards"),
        ("index.json", {"shards": -1}, "tells no key or no shards"),
        ("index.json", {"shards": 10**12}, "it has no shard-00003.json"),
        ("shard-00000.json", None, "it has no shard-00000.json"),
        ("shard-00000.json", b"null", "shard-00000.json holds no object"),
        ("shard-00000.json", {"ids": 4}, "no lists of ids and identities"),
        ("shard-00000.json", {"ids": [1, 2, 3, 4]}, "no lists of ids and identities"),
        ("shard-00000.json", {"ids": ["a", "b", "c"]}, "not one identity for each id"),
        ("shard-00000.json", {"ids": ["a", "a", "b", "c"]}, "not one identity for each id"),
        ("slots-00001.npy", None, "has no slots-00001.npy"),
        ("slots-00001.npy", b"no array", "slots-00001.npy is damaged"),
        ("slots-00001.npy", np.array([{"a": 1}]), "it holds object, not numbers"),
        ("slots-00001.npy", np.zeros((4, 3, 4)), "shard 1 of 4 images holds slots float64"),
        ("slots-00001.npy", np.zeros((3, 3, 4), np.float16), "shard 1 of 4 images holds"),
        ("slots-00001.npy", np.zeros((4, 3, 5), np.float16), "shard 1 of 4 images holds"),
        ("slots-00001.npy", np.zeros((4, 0, 4), np.float16), "shard 1 of 4 images holds"),
        ("slots-00001.npy", np.array(3, np.float16), "shard 1 of 4 images holds"),
        ("pooled-00001.npy", np.zeros((4, 5), np.float16), "shard 1 of 4 images holds"),
        ("pooled-00000.npy", np.zeros((4, 5), np.float16), "shard 1 of 4 images holds"),
        ("pooled-00001.npy", np.zeros((4, 0), np.float16), "shard 1 of 4 images holds"),
        ("pooled-00001.npy", np.zeros((3, 4), np.float16), "shard 1 of 4 images holds"),
        ("pooled-00001.npy", np.zeros((4, 4, 1), np.float16), "shard 1 of 4 images holds"),
        ("mask-00001.npy", np.ones((4, 3), np.int8), "shard 1 of 4 images holds"),
        ("mask-00001.npy", np.ones((4, 2), bool), "shard 1 of 4 images holds"),
    ],
)
def test_a_store_that_is_none_is_refused(tmp_path: Path, name: str, content: object, sentence: str):
    write(tmp_path / "s")
    damage(tmp_path / "s", name, content)
    with pytest.raises(UserError, match=sentence):
        FeatureStore(tmp_path / "s")


def test_a_cut_array_is_refused(tmp_path: Path):
    write(tmp_path / "s")
    file = tmp_path / "s" / "slots-00000.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"slots-00000\.npy is damaged: shape .* and there are 95"):
        FeatureStore(tmp_path / "s")


@pytest.mark.parametrize("name", ["key.json", "shard-00000.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_extracting_into_a_damaged_store_is_refused(tmp_path: Path, name: str, content: bytes):
    write(tmp_path / "s")
    (tmp_path / "s" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"the store .* is damaged: {name}"):
        write(tmp_path / "s")
