"""Pictures of Parquet and Arrow files, read in place: in bounded memory, in any order, by any process."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from captionlab.core.errors import UserError
from captionlab.data.images.packed import PackedImage
from captionlab.data.images.placement import Locator, Pieces

logger = logging.getLogger(__name__)

VERSION = 1  # of the remembered places
MOST_FAILURES = 8  # in a row, of pictures that do not lie in a group as they are
MOST_GROUPS = 2  # that are held decoded where pictures do not lie in the file as they are


class Group(NamedTuple):
    """Pictures that are decoded together: encoded pictures, null where a row has none.

    They lie in the file from ``low`` to ``high``.
    """

    low: int
    high: int
    pictures: list[bytes | None]


class Shard:
    """A file that packs pictures, ``rows`` of them.

    Args:
        groups: yields all groups of the file in order. group: decodes the group of a number again.
    """

    def __init__(
        self,
        file: Path,
        rows: int,
        groups: Callable[[], Iterator[Group]],
        group: Callable[[int], Group],
    ) -> None:
        self.file, self.rows = file, rows
        self._groups, self._group = groups, group
        self._stamp = _stamp(file)
        self._lock = threading.Lock()
        self._places: dict[str, np.ndarray] | None = None
        self._mapped: mmap.mmap | None = None
        self._decoded: OrderedDict[int, list[bytes | None]] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        without = {"_lock": None, "_mapped": None, "_decoded": None}
        return {**vars(self), **without}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock, self._decoded = threading.Lock(), OrderedDict()

    def read(self, row: int) -> bytes:
        """Return the encoded picture of a row; empty where it has none.

        Raises:
            UserError: if the file is not as it was when it was first read.
        """
        with self._lock:
            places = self._load() if self._places is None or self._mapped is None else self._places
        group = int(places["groups"][row])
        if group >= 0:
            return self._read_group(group, row - int(places["first"][group]))
        start, end = places["starts"][row], places["starts"][row + 1]
        parts = [
            self._piece(places, int(offset), int(length))
            for offset, length in zip(
                places["offsets"][start:end], places["lengths"][start:end], strict=True
            )
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _piece(self, places: dict[str, np.ndarray], offset: int, length: int) -> bytes:
        if offset < 0:
            return places["kept"][-1 - offset : -1 - offset + length].tobytes()
        assert self._mapped is not None
        return self._mapped[offset : offset + length]

    def _read_group(self, number: int, index: int) -> bytes:
        with self._lock:
            if number not in self._decoded:
                while len(self._decoded) >= MOST_GROUPS:
                    self._decoded.popitem(last=False)
                self._decoded[number] = self._group(number).pictures
            self._decoded.move_to_end(number)
            return self._decoded[number][index] or b""

    def _load(self) -> dict[str, np.ndarray]:
        """Return where the pictures lie: as an earlier run remembered it, or found now."""
        if _stamp(self.file) != self._stamp:
            raise UserError(f"{self.file} was changed while it was read: start again")
        with self.file.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._places is not None:  # in a process to which this was sent
            return self._places
        memory = _memory(self.file, self._stamp)
        places = _remembered(memory, self.rows)
        if places is None:
            places = self._find(self._mapped)
            _remember(memory, places)
        self._places = places
        return places

    def _find(self, mapped: mmap.mmap) -> dict[str, np.ndarray]:
        pieces = Pieces()
        groups: list[int] = []
        first: list[int] = []
        for number, (low, high, pictures) in enumerate(self._groups()):
            first.append(len(groups))
            locator = Locator(mapped, low, high)
            failures = 0
            for picture in (one or b"" for one in pictures):
                # after some failures the rest is compressed too: searching all of it takes long
                place = locator.locate(picture) if failures < MOST_FAILURES else None
                failures = failures + 1 if place is None else 0
                pieces.add(*(place or ([], [])))
                groups.append(number if place is None else -1)
        if len(groups) != self.rows:
            raise UserError(
                f"{self.file} says that it has {self.rows:,} rows, and has {len(groups):,}"
            )
        places = {**pieces.arrays(), "groups": np.array(groups), "first": np.array(first)}
        self._warn_of_slowness(int((places["groups"] >= 0).sum()))
        return places

    def _warn_of_slowness(self, decoded: int) -> None:
        if 10 * decoded > self.rows:
            logger.warning(
                "%s compresses its pictures: %s of %s are decoded with those around them each time, "
                "which is slow; write it again with compression='none' or 'snappy'",
                self.file,
                f"{decoded:,}",
                f"{self.rows:,}",
            )


class ShardImage(PackedImage):
    """The picture of one row of a shard."""

    __slots__ = ("name", "row", "shard")

    def __init__(self, shard: Shard, row: int, name: str) -> None:
        self.shard, self.row, self.name = shard, row, name

    @property
    def file(self) -> Path:  # type: ignore[override]
        """The shard's file."""
        return self.shard.file

    def read(self) -> bytes:
        """Return the encoded picture; empty where the row has none."""
        return self.shard.read(self.row)

    def __str__(self) -> str:
        return f"{self.shard.file}: row {self.row}"


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _memory(file: Path, stamp: str) -> Path:
    name = hashlib.sha256(f"{VERSION}\n{file.absolute()}\n{stamp}".encode("utf-8", "surrogatepass"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "captionlab" / f"pictures-{name.hexdigest()[:24]}.npz"


def _remembered(memory: Path, rows: int) -> dict[str, np.ndarray] | None:
    # the first run, or a file that another program damaged: find them again
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):
        with np.load(memory, allow_pickle=False) as stored:
            places = {name: stored[name] for name in ("starts", "offsets", "lengths", "kept")}
            places |= {name: stored[name] for name in ("groups", "first")}
        if len(places["groups"]) == rows and len(places["starts"]) == rows + 1:
            return places
    return None


def _remember(memory: Path, places: dict[str, np.ndarray]) -> None:
    """Keep the places for later runs; a home that cannot be written to is no reason to stop."""
    partial = memory.with_suffix(f".{os.getpid()}.npz")
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, **places)  # type: ignore[arg-type]
        partial.replace(memory)  # at once, because several ranks of one run may write
