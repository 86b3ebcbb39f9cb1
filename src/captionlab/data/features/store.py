"""Stored encoder memory: written once, read in place, refused where it does not fit.

Legend: B images, N memory slots, D memory width, P width of the pooled vector.

A store is a folder: ``slots-00000.npy`` (n, N, D), ``pooled-00000.npy`` (n, P) and
``mask-00000.npy`` (n, N) for each shard of n images, ``shard-00000.json`` with their ids, and
``index.json``, which is written last: a store that has one is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.shards import (
    map_shard,
    read_object,
    require_fit,
    shard_entries,
    shard_file,
    write_object,
    write_shard,
)
from captionlab.data.images.packed import PackedImage
from captionlab.data.records import CaptionRecord

FORMAT = 1
SHARD = 1024  # images a shard: what an interruption loses at most
SPOT_CHECKS = 50


class Features(Protocol):
    """Memory of images by their ids: a store, or published regions."""

    path: Path

    def __contains__(self, image_id: int | str) -> bool: ...

    def read(self, image_id: int | str) -> Memory:
        """Return one image's memory: slots (N, D), pooled (P,), mask (N,)."""
        ...


class FeatureStore:
    """A finished store, memory-mapped.

    ``wanted``: the identities of images by their ids, where others that the store holds are not
    meant; None for all.

    Raises:
        UserError: if the folder is no store, or one that was never finished.
    """

    def __init__(self, path: str | Path, wanted: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        where = f"data.features={path}"
        index = read_object(self.path / "index.json", where)
        if index is None:
            raise UserError(
                f"data.features={path} is no finished feature store (it has no index.json): "
                "run captionlab extract with out= that folder, which goes on where it stopped"
            )
        if index.get("format") != FORMAT:
            raise UserError(
                f"{where} has format {index.get('format')!r:.40}, this captionlab reads {FORMAT}"
            )
        key, shards = index.get("key"), index.get("shards")
        if not isinstance(key, dict) or type(shards) is not int or shards < 1:
            raise UserError(f"{where} is damaged: its index.json tells no key or no shards")
        self.key: dict[str, object] = key
        self._places: dict[str, tuple[int, int]] = {}
        self._identities: dict[str, str] = {}
        self._shards: list[tuple[np.ndarray, ...]] = []
        for number in range(shards):
            ids, identities = shard_entries(shard_file(self.path, number), where)
            for row, (name, image) in enumerate(zip(ids, identities, strict=True)):
                if wanted is None or wanted.get(name) == image:
                    self._places[name] = (number, row)
                    self._identities[name] = image
            arrays = map_shard(self.path, number, where)
            require_fit(arrays, len(ids), self._shards, where, number)
            self._shards.append(arrays)

    def __getstate__(self) -> dict[str, object]:
        # a loading process that is not a fork maps the files itself: pickled, an array is copied
        return {**self.__dict__, "_shards": len(self._shards)}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        where = f"data.features={self.path}"
        shards: Any = state["_shards"]
        self._shards = [map_shard(self.path, number, where) for number in range(shards)]

    def __contains__(self, image_id: int | str) -> bool:
        return str(image_id) in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, image_id: int | str) -> Memory:
        """Return one image's memory: slots (N, D), pooled (P,), mask (N,), as stored."""
        number, row = self._places[str(image_id)]
        slots, pooled, mask = (torch.from_numpy(part[row].copy()) for part in self._shards[number])
        return Memory(slots, pooled, mask)

    def count_slots(self, image_id: int | str) -> int:
        """Return N of one image's memory, which is not read for it."""
        number, row = self._places[str(image_id)]
        return len(self._shards[number][0][row])

    @property
    def fit(self) -> str:
        """How its images were brought to the encoder's size (``data.images.prepare``)."""
        return str(self.key.get("fit", "stretch"))

    def require_key(self, key: Mapping[str, object]) -> None:
        """Raise UserError that tells in words how the store's key differs from ``key``."""
        differences = [
            f"{name} is {str(self.key.get(name))[:300]} in the store and {key.get(name)} here"
            for name in {**self.key, **key}
            if self.key.get(name) != key.get(name)
        ]
        if differences:
            raise UserError(
                f"data.features={self.path} was made by another encoder or transform: "
                f"{'; '.join(differences)}. Extract again, or choose the store's own"
            )

    def require_images(self, records: Sequence[CaptionRecord]) -> None:
        """Compare some records with what was stored under their ids.

        Raises:
            UserError: if an image has changed, or another data set uses the same ids.
        """
        for record in records[:: max(1, len(records) // SPOT_CHECKS)]:
            stored = self._identities[str(record.image_id)]
            now = identity(record)
            if now is not None and stored != now and not stored.startswith(f"{now}, changed "):
                raise UserError(
                    f"data.features={self.path} holds another image under the id "
                    f"{record.image_id!r} ({stored}, here {now}): extract the features of this data"
                )


def write_store(
    path: Path,
    records: Sequence[CaptionRecord],
    key: Mapping[str, object],
    encode: Callable[[Sequence[CaptionRecord]], Memory],
    *,
    dtype: str = "float16",
    batch_size: int = 32,
    shard_size: int = SHARD,
    progress: Callable[[int], None] = lambda images: None,
) -> None:
    """Write the memory of all records; finished shards of an interrupted call are kept.

    Args:
        path: the store's folder. key: what made the memory (``FeatureStore.require_key``).
        encode: from records to their memory. dtype: float16 or float32.
        progress: called with the number of images done since it was called last.

    Raises:
        UserError: if the folder holds a store of another key, or of other images.
    """
    path.mkdir(parents=True, exist_ok=True)
    where = f"the store {path}"
    begun = read_object(path / "key.json", where)
    own_key = {**key, "dtype": dtype}
    if begun is not None and begun != own_key:
        raise UserError(
            f"{path} holds features of another encoder, transform or dtype: choose out="
        )
    write_object(path / "key.json", own_key)
    shards = -(-len(records) // shard_size)
    for number in range(shards):
        part = records[number * shard_size : (number + 1) * shard_size]
        ids = [str(record.image_id) for record in part]
        done = read_object(shard_file(path, number), where)
        if done is not None and done.get("ids") != ids:
            raise UserError(
                f"{path} holds features of other images: choose another folder with out="
            )
        if done is None:
            write_shard(path, number, part, encode, dtype, batch_size, progress)
            entry = {"ids": ids, "identities": [identity(record) or "" for record in part]}
            write_object(shard_file(path, number), entry)
        else:
            progress(len(part))
    index = {"format": FORMAT, "key": dict(key), "dtype": dtype, "images": len(records)}
    write_object(path / "index.json", {**index, "shards": shards})


def require_all(features: Features, records: Iterable[CaptionRecord], split: str) -> None:
    """Raise UserError that names some images without features, if there are any."""
    missing = [record.image_id for record in records if record.image_id not in features]
    if missing:
        some = ", ".join(map(str, missing[:5]))
        raise UserError(
            f"data.features={features.path} has no features of {len(missing):,} images of the "
            f"split {split!r} ({some}{' ...' if len(missing) > 5 else ''})"
        )


def identity(record: CaptionRecord) -> str | None:
    """Return what tells a record's image from another one: file name and size, or its drawing.

    None for a file that is not there, which cannot be compared.
    """
    if isinstance(record.image, Path):
        if not record.image.is_file():
            return None
        return f"{record.image.name}, {record.image.stat().st_size} bytes"
    if isinstance(record.image, PackedImage):
        return f"{record.image.name}, {len(record.image.read())} bytes"
    drawing = record.image
    description = (
        repr((drawing.args, drawing.keywords)) if isinstance(drawing, partial) else repr(drawing)
    )
    return f"drawing {hashlib.sha256(description.encode()).hexdigest()[:12]}"


def stamped_identity(record: CaptionRecord) -> str:
    """Return an image's identity with the time of its file's last change, in nanoseconds.

    Raises:
        OSError: if its file is not there.
    """
    if not isinstance(record.image, Path):
        return identity(record) or ""
    status = record.image.stat()
    return f"{record.image.name}, {status.st_size} bytes, changed {status.st_mtime_ns}"


def stack(memories: Sequence[Memory]) -> Memory:
    """Return one memory of several images' (N, D), padded to the largest N."""
    most = max(len(memory.mask) for memory in memories)
    first = memories[0]
    slots = first.slots.new_zeros(len(memories), most, first.slots.shape[-1])
    mask = torch.zeros(len(memories), most, dtype=torch.bool)
    boxes = None if first.boxes is None else first.boxes.new_zeros(len(memories), most, 4)
    for row, memory in enumerate(memories):
        count = len(memory.mask)
        slots[row, :count], mask[row, :count] = memory.slots, memory.mask
        if boxes is not None and memory.boxes is not None:
            boxes[row, :count] = memory.boxes
    return Memory(slots, torch.stack([memory.pooled for memory in memories]), mask, boxes)
