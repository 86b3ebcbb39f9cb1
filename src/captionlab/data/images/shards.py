"""Pictures of Parquet and Arrow files, read in place: in bounded memory, in any order, by any process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from captionlab.core.caches import cache_folder
from captionlab.core.errors import UserError
from captionlab.data.images.decoded import DECODED, warn_of_slowness
from captionlab.data.images.packed import PackedImage
from captionlab.data.images.placement import Locator, Pieces

VERSION = 1  # of the remembered places
MOST_FAILURES = 8  # in a row, of pictures that do not lie in a group as they are


class Group(NamedTuple):
    """Pictures that are decoded together: encoded pictures, null where a row has none.

    They lie in the file from ``low`` to ``high``.
    """

    low: int
    high: int
    pictures: Iterable[bytes | None]


class Shard:
    """A file that packs pictures, ``rows`` of them.

    Nothing of the file stays open or mapped between two pictures: neither the memory nor the number
    of open files of a process grows with what it has read.

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
        self._stamp = _stamp(file.stat())
        self._lock = threading.Lock()
        self._places: dict[str, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def read(self, row: int) -> bytes:
        """Return the encoded picture of a row; empty where it has none.

        Raises:
            UserError: if the file is not as it was when it was first read.
        """
        with self._opened() as file:
            places = self._load()
            group = int(places["groups"][row])
            if group >= 0:
                number_in_group = row - int(places["first"][group])
                return DECODED.pictures(self, group, self._decode)[number_in_group] or b""
            start, end = places["starts"][row], places["starts"][row + 1]
            parts = [
                self._piece(file, places, int(offset), int(length))
                for offset, length in zip(
                    places["offsets"][start:end], places["lengths"][start:end], strict=True
                )
            ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        """Open the file; UserError where it is gone, or not as it was when it was first read."""
        try:
            file = io.FileIO(self.file)
        except OSError as error:
            raise UserError(f"{self.file} cannot be read: {error.strerror or error}") from None
        with file:
            if _stamp(os.fstat(file.fileno())) != self._stamp:
                raise self._changed()
            yield file

    def _changed(self) -> UserError:
        return UserError(f"{self.file} was changed while it was read: start again")

    def _piece(
        self, file: io.FileIO, places: dict[str, np.ndarray], offset: int, length: int
    ) -> bytes:
        if offset < 0:
            return places["kept"][-1 - offset : -1 - offset + length].tobytes()
        file.seek(offset)
        piece = file.read(length)
        if len(piece) != length:
            raise self._changed()
        return piece

    def _decode(self, number: int) -> list[bytes | None]:
        return list(self._group(number).pictures)

    def _load(self) -> dict[str, np.ndarray]:
        """Return where the pictures lie: as an earlier run remembered it, or found now."""
        with self._lock:
            if self._places is None:
                memory = _memory(self.file, self._stamp)
                places = _remembered(memory, self.rows)
                if places is None:
                    places = self._find()
                    _remember(memory, places)
                self._places = places
            return self._places

    def _find(self) -> dict[str, np.ndarray]:
        pieces = Pieces()
        groups: list[int] = []
        first: list[int] = []
        with (
            self.file.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            for number, (low, high, pictures) in enumerate(self._groups()):
                first.append(len(groups))
                locator = Locator(mapped, low, high)
                failures = 0
                for picture in (one or b"" for one in pictures):
                    # after some failures the rest is compressed too: searching all takes long
                    place = locator.locate(picture) if failures < MOST_FAILURES else None
                    failures = failures + 1 if place is None else 0
                    pieces.add(*(place or ([], [])))
                    groups.append(number if place is None else -1)
        if len(groups) != self.rows:
            raise UserError(
                f"{self.file} says that it has {self.rows:,} rows, and has {len(groups):,}"
            )
        places = {**pieces.arrays(), "groups": np.array(groups), "first": np.array(first)}
        if 10 * int((places["groups"] >= 0).sum()) > self.rows:
            warn_of_slowness(self.file, self.rows // max(1, len(first)))
        return places


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


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _memory(file: Path, stamp: str) -> Path:
    name = hashlib.sha256(f"{VERSION}\n{file.absolute()}\n{stamp}".encode("utf-8", "surrogatepass"))
    return cache_folder() / f"pictures-{name.hexdigest()[:24]}.npz"


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
