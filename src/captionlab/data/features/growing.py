"""A store that grows by the images that it has not: what runs fill by themselves.

Its files are those of any store (``store``). Images are told apart by id and identity, which holds the
time of a file's last change; shards are only added, and the index counts those that are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.shards import (
    read_object,
    shard_entries,
    shard_file,
    write_object,
    write_shard,
)
from captionlab.data.features.store import FORMAT, SHARD, stamped_identity
from captionlab.data.records import CaptionRecord

# an interruption loses a thirtieth of the work, or so many images; SHARD bounds the open files
PARTS_OF_WORK = 32
SMALLEST_SHARD = 64

Encode = Callable[[Sequence[CaptionRecord]], Memory]


def identities_of(records: Sequence[CaptionRecord]) -> dict[str, str]:
    """Return the identities of images by their ids.

    Raises:
        UserError: if an id stands for two images.
        OSError: if an image's file is not there.
    """
    identities: dict[str, str] = {}
    for record in records:
        stamp = stamped_identity(record)
        if identities.setdefault(str(record.image_id), stamp) != stamp:
            raise UserError(f"the image id {record.image_id!r} stands for two images")
    return identities


def missing_records(
    path: Path, records: Sequence[CaptionRecord], identities: Mapping[str, str]
) -> list[CaptionRecord]:
    """Return the records whose images a store has not, each image once; it need not be there.

    Raises:
        UserError: if the store is damaged.
    """
    where = f"the store {path}"
    stored: set[tuple[str, str]] = set()
    for number in range(_count_shards(path)):
        stored.update(zip(*shard_entries(shard_file(path, number), where), strict=True))
    by_id = {str(record.image_id): record for record in records}
    return [record for name, record in by_id.items() if (name, identities[name]) not in stored]


def add_records(
    path: Path,
    records: Sequence[CaptionRecord],
    identities: Mapping[str, str],
    key: Mapping[str, object],
    encode: Encode,
    *,
    dtype: str,
    batch_size: int,
    shard_size: int | None = None,
    progress: Callable[[int], None] = lambda images: None,
) -> None:
    """Write the memory of records that a store has not, shard by shard; it need not be there.

    The caller is the only one who writes there. What an interruption leaves is whole, and whoever
    reads what was there before is not disturbed.

    Args:
        path, key, encode, dtype, progress: as of ``store.write_store``.
        identities: by id. shard_size: in images; None for a size that follows from their number.

    Raises:
        UserError: if a number does not fit ``dtype``.
        OSError: if it cannot be written.
    """
    path.mkdir(parents=True, exist_ok=True)
    size = shard_size or min(SHARD, max(SMALLEST_SHARD, len(records) // PARTS_OF_WORK))
    for start in range(0, len(records), size):
        number = _count_shards(path)
        part = records[start : start + size]
        ids = [str(record.image_id) for record in part]
        write_shard(path, number, part, encode, dtype, batch_size, progress)
        entry = {"ids": ids, "identities": [identities[name] for name in ids]}
        write_object(shard_file(path, number), entry)
        # last: a shard that it does not count is written again
        index = {"format": FORMAT, "key": dict(key), "dtype": dtype, "shards": number + 1}
        write_object(path / "index.json", index)


def _count_shards(path: Path) -> int:
    """Return how many whole shards a store has."""
    index = read_object(path / "index.json", f"the store {path}")
    shards = 0 if index is None else index.get("shards")
    if type(shards) is not int:
        raise UserError(f"the store {path} is damaged: its index.json tells no shards")
    return shards
