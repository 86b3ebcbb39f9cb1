"""Where the bytes of pictures lie in a file that packs them, found by searching and comparing.

Photographs are compressed already, so that what packs them (Parquet with Snappy, LZ4, Zstandard or
nothing, Arrow) leaves most of their bytes as they are, in long pieces. A picture is then read by
copying those pieces out of the mapped file, without decoding the hundreds of pictures around it.
The few bytes in between are kept. Every piece was compared with the picture when it was found.
"""

from __future__ import annotations

import mmap
from array import array
from dataclasses import dataclass, field

import numpy as np

PROBE = 24  # bytes that are searched for
# how far behind the last piece the next one may begin, beside the bytes between them: heads of pages;
# farther away the head of a later picture may have the same bytes
NEAR = 512
STEP = 16  # bytes that are kept where none is found
CHUNK = 65536
MOST_KEPT = 4096  # bytes of a picture that may be kept, beside a quarter of it

Source = mmap.mmap | bytes


@dataclass
class Pieces:
    """Pieces of pictures in order; picture i has ``starts[i]`` to ``starts[i + 1]``.

    A piece is (offset, length) in the file, or in ``kept`` where the offset is negative: -1 - offset.
    """

    starts: array[int] = field(default_factory=lambda: array("q", [0]))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    kept: bytearray = field(default_factory=bytearray)

    def add(self, pieces: list[tuple[int, int]], kept: list[bytes]) -> None:
        """Append one picture: its pieces, of which the negative ones take from ``kept`` in turn."""
        rest = iter(kept)
        for offset, length in pieces:
            if offset < 0:
                offset = -1 - len(self.kept)
                self.kept += next(rest)
            self.offsets.append(offset)
            self.lengths.append(length)
        self.starts.append(len(self.offsets))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the pieces as arrays that can be stored."""
        return {
            "starts": np.array(self.starts, np.int64),
            "offsets": np.array(self.offsets, np.int64),
            "lengths": np.array(self.lengths, np.int64),
            "kept": np.frombuffer(bytes(self.kept), np.uint8),
        }


class Locator:
    """Finds pictures that follow each other in a part of a file, from ``low`` to ``high``."""

    def __init__(self, source: Source, low: int, high: int) -> None:
        self.source, self.low, self.high = source, low, high
        self.cursor = low

    def locate(self, picture: bytes) -> tuple[list[tuple[int, int]], list[bytes]] | None:
        """Return a picture's pieces and the bytes that are kept, None where it does not lie there."""
        pieces = self._walk(picture, self.cursor)
        if pieces is None:  # not behind the one before: look for its middle, behind it or before
            middle = len(picture) // 2
            probe = picture[middle : middle + 2 * PROBE]
            at = self.source.find(probe, self.cursor, self.high)
            if at < 0:
                at = self.source.find(probe, self.low, self.cursor)
            if at >= 0:
                pieces = self._walk(picture, max(self.low, at - middle))
        return pieces

    def _walk(
        self, picture: bytes, cursor: int
    ) -> tuple[list[tuple[int, int]], list[bytes]] | None:
        pieces: list[tuple[int, int]] = []
        kept: list[bytes] = []
        bare = bytearray()
        total = place = 0
        most = min(len(picture) // 4 + MOST_KEPT, len(picture))
        while place < len(picture):
            probe = picture[place : place + PROBE]
            reach = cursor + len(bare) + NEAR + PROBE
            at = self.source.find(probe, cursor, min(self.high, reach))
            if at < 0:
                bare += picture[place : place + STEP]
                total += STEP
                place += STEP
                if total > most:
                    return None
                continue
            if bare:
                pieces.append((-1, len(bare)))
                kept.append(bytes(bare))
                bare.clear()
            length = self._common(picture, place, at)
            pieces.append((at, length))
            place += length
            cursor = at + length
        if bare:
            pieces.append((-1, len(bare)))
            kept.append(bytes(bare))
        self.cursor = cursor
        return pieces, kept

    def _common(self, picture: bytes, place: int, at: int) -> int:
        """Return how many bytes from ``place`` of a picture lie at ``at``."""
        length = 0
        while place + length < len(picture):
            mine = picture[place + length : place + length + CHUNK]
            there = self.source[at + length : min(at + length + len(mine), self.high)]
            if mine == there:
                length += len(mine)
                continue
            common = min(len(mine), len(there))
            a = np.frombuffer(mine, np.uint8, common)
            b = np.frombuffer(there, np.uint8, common)
            differ = np.flatnonzero(a != b)
            return length + (int(differ[0]) if len(differ) else common)
        return length
