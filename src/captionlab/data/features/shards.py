"""The files of a feature store: shards of arrays, and what describes them in JSON.

Legend: n images of a shard, N memory slots, D memory width, P width of the pooled vector.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from captionlab.core.array_files import map_array
from captionlab.core.errors import UserError
from captionlab.core.files import read_json, replacing
from captionlab.core.memory import Memory
from captionlab.data.records import CaptionRecord

PARTS = ("slots", "pooled", "mask")


def shard_file(store: Path, number: int) -> Path:
    """Return the file with ids and identities of a shard's images."""
    return store / f"shard-{number:05d}.json"


def map_shard(store: Path, number: int, where: str) -> tuple[np.ndarray, ...]:
    """Return a shard's slots, pooled and mask, memory-mapped; UserError where a file is damaged."""
    files = (store / f"{part}-{number:05d}.npy" for part in PARTS)
    return tuple(map_array(file, where) for file in files)


def read_object(path: Path, where: str) -> dict[str, object] | None:
    """Return the object that a file of the store ``where`` holds, None where there is no file."""
    if not path.is_file():
        return None
    try:
        value = read_json(path)
    except ValueError:
        raise UserError(f"{where} is damaged: {path.name} is not JSON") from None
    if not isinstance(value, dict):
        raise UserError(f"{where} is damaged: {path.name} holds no object")
    return value


def shard_entries(path: Path, where: str) -> tuple[list[str], list[str]]:
    """Return ids and identities of a shard's images."""
    shard = read_object(path, where)
    if shard is None:
        raise UserError(f"{where} is damaged: it has no {path.name}")
    ids, identities = _texts(shard.get("ids")), _texts(shard.get("identities"))
    if ids is None or identities is None:
        raise UserError(f"{where} is damaged: {path.name} has no lists of ids and identities")
    if len(ids) != len(identities) or len(set(ids)) != len(ids):
        raise UserError(f"{where} is damaged: {path.name} has not one identity for each id")
    return ids, identities


def _texts(value: object) -> list[str] | None:
    """Return a list of texts, None for anything else."""
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return value if is_list else None  # type: ignore[return-value]


def require_fit(
    arrays: tuple[np.ndarray, ...],
    images: int,
    before: Sequence[tuple[np.ndarray, ...]],
    where: str,
    number: int,
) -> None:
    """Raise UserError unless slots (n, N, D), pooled (n, P) and mask (n, N) belong together.

    Widths are those of the first shard.
    """
    slots, pooled, mask = arrays
    width, pooled_width = (array.shape[-1:] for array in (before[0] if before else arrays)[:2])
    fits = (
        slots.ndim == 3
        and slots.shape[0] == images
        and min(slots.shape) > 0
        and slots.shape[-1:] == width
        and pooled.shape == (slots.shape[0], *pooled_width)
        and pooled.size > 0
        and mask.shape == slots.shape[:2]
        and slots.dtype == pooled.dtype
        and slots.dtype in (np.float16, np.float32)
        and mask.dtype == np.bool_
    )
    if not fits:
        shapes = ", ".join(
            f"{part} {array.dtype} {array.shape}" for part, array in zip(PARTS, arrays, strict=True)
        )
        raise UserError(
            f"{where} is damaged: shard {number} of {images} images holds {shapes}; expected float "
            "slots (n, N, D), pooled (n, P) and bool mask (n, N)"
        )


def write_object(path: Path, value: Mapping[str, object]) -> None:
    """Write an object whole, or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value), encoding="utf-8")


def write_shard(
    path: Path,
    number: int,
    records: Sequence[CaptionRecord],
    encode: Callable[[Sequence[CaptionRecord]], Memory],
    dtype: str,
    batch_size: int,
    progress: Callable[[int], None],
) -> None:
    """Write the arrays of a shard's images, each file whole or not at all.

    Raises:
        UserError: if a number is too large for ``dtype``.
    """
    arrays: dict[str, np.ndarray] = {}
    for start in range(0, len(records), batch_size):
        batch = records[start : start + batch_size]
        memory = encode(batch)
        for part in PARTS:
            tensor = getattr(memory, part).cpu()
            with np.errstate(over="ignore"):  # what does not fit is refused below
                values = tensor.numpy().astype(dtype if tensor.is_floating_point() else bool)
            if part not in arrays:
                arrays[part] = np.empty((len(records), *values.shape[1:]), values.dtype)
            arrays[part][start : start + len(batch)] = values
        progress(len(batch))
    if not all(np.isfinite(arrays[part]).all() for part in ("slots", "pooled")):
        raise UserError(f"The memory of some images does not fit into {dtype}: say dtype=float32")
    for part, array in arrays.items():
        file = path / f"{part}-{number:05d}.npy"
        with replacing(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, array)
