"""Pictures that have to be decoded in groups: how many stay in memory, and what is said of it."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

Pictures = list[bytes | None]
MOST_BYTES = 2**28  # of decoded groups that a process keeps; one larger group is kept alone


class DecodedGroups:
    """The groups that were read last, of all files together, ``most`` bytes of them.

    In a random order few of the pictures asked for are among them: they serve the check of all
    pictures before training, which goes from the first to the last.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.forget()

    def forget(self) -> None:
        """Let go of all of them."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, int], Pictures] = OrderedDict()
        self._bytes = 0

    def pictures(self, owner: object, number: int, decode: Callable[[int], Pictures]) -> Pictures:
        """Return a group of ``owner`` by its number, decoded if it is not among those kept."""
        with self._lock:  # for as long as it decodes: threads want the same group
            key = (owner, number)
            if key not in self._kept:
                pictures = decode(number)
                size = _size(pictures)
                while self._kept and self._bytes + size > self.most:
                    self._bytes -= _size(self._kept.popitem(last=False)[1])
                self._kept[key] = pictures
                self._bytes += size
            self._kept.move_to_end(key)
            return self._kept[key]


DECODED = DecodedGroups()
if hasattr(os, "register_at_fork"):  # another thread may hold the lock; and each would keep a copy
    os.register_at_fork(after_in_child=DECODED.forget)

_slow: set[Path] = set()  # folders of which it was said


def warn_of_slowness(file: Path, group: int) -> None:
    """Say, once a folder, that its pictures are slow in random order; ``group``: rows in a group."""
    if file.parent in _slow:
        return
    _slow.add(file.parent)
    logger.warning(
        "%s compresses its pictures: for each one the row group around it, about %s rows, is decoded, "
        "which is slow in random order; write it again with compression='none' or 'snappy', or with "
        "row_group_size=100 or less",
        file,
        f"{group:,}",
    )


def _size(pictures: Pictures) -> int:
    return sum(len(picture or b"") for picture in pictures)
