"""The folder where runs keep the stores that they fill: shared by all, bounded in size.

A store is a folder here. Its locks lie beside it: ``NAME.use`` is shared by those who read it,
``NAME.fill`` is held by the one who writes. They stay when a store goes, because a lock on a file
that somebody else has removed locks nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from captionlab.core.locks import exclusive_lock, exclusive_lock_if_free, shared_lock

# a store has one of each; a folder without them is somebody else's and never removed
USED = "used"  # changed when a run begins to read
RESERVED = "reserved"  # bytes that the store will have when its filling is done
LOCKS = "locks"


class FeatureCache:
    """Feature stores below ``folder``, together of ``limit`` bytes at most.

    Every method raises OSError where the folder cannot be read or written.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @contextmanager
    def used(self, name: str) -> Iterator[Path]:
        """Hold a store while it is read, and give its folder: it is not evicted meanwhile."""
        with suppress(OSError):  # a cache that is whole can be read where it cannot be written
            (self.folder / LOCKS).mkdir(parents=True, exist_ok=True)
        with shared_lock(self._lock(name, "use")):
            with suppress(OSError):
                (self.folder / name / USED).touch()
            yield self.folder / name

    def filling(self, name: str, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold a store to write into it; ``on_wait`` is called before waiting for another writer."""
        return exclusive_lock(self._lock(name, "fill"), on_wait)

    def reserve(self, name: str, more: int) -> int:
        """Make room for ``more`` bytes of a store by evicting the ones that were used longest ago.

        Returns how many bytes are wanting: 0 where they fit. Stores in use stay, and where the bytes
        cannot fit at all, none is evicted.
        """
        with exclusive_lock(self.folder / LOCKS / "evict"):
            own = self.folder / name
            needed = _bytes(own) + more
            if needed > self.limit:
                return needed - self.limit
            others = {store: _size(store) for store in self._stores() if store != own}
            for store in sorted(others, key=_last_use):
                if needed + sum(others.values()) <= self.limit:
                    break
                if self.remove(store.name):
                    del others[store]
            over = needed + sum(others.values()) - self.limit
            if over <= 0:
                own.mkdir(parents=True, exist_ok=True)
                (own / USED).touch()
                (own / RESERVED).write_text(str(needed))
            return max(0, over)

    def release(self, name: str) -> None:
        """Count a store by what it holds from now on: nothing more is to come."""
        (self.folder / name / RESERVED).write_text("0")

    def remove(self, name: str) -> bool:
        """Remove a store unless somebody uses it; return whether it is gone."""
        with exclusive_lock_if_free(self._lock(name, "use")) as free:
            if free:
                # at once for whoever looks, though it takes its time and can be killed meanwhile
                gone = self.folder / f"{name}.gone-{os.getpid()}"
                (self.folder / name).rename(gone)
                shutil.rmtree(gone)
        return free

    def _stores(self) -> list[Path]:
        return [
            path
            for path in self.folder.iterdir()
            if not path.is_symlink() and (path / USED).is_file() and (path / RESERVED).is_file()
        ]

    def _lock(self, name: str, kind: str) -> Path:
        return self.folder / LOCKS / f"{name}.{kind}"


def _size(store: Path) -> int:
    """Return the bytes that a store has, or will have if it is being filled."""
    try:
        reserved = int((store / RESERVED).read_text()[:20])
    except (OSError, ValueError):
        reserved = 0
    return max(reserved, _bytes(store))


def _bytes(store: Path) -> int:
    total = 0
    with suppress(FileNotFoundError), os.scandir(store) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # a writer's temporary file
                total += entry.stat(follow_symlinks=False).st_size
    return total


def _last_use(store: Path) -> float:
    with suppress(OSError):
        return (store / USED).stat().st_mtime
    return 0.0
