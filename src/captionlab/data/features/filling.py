"""One store of the cache in the hands of a run: held, completed, read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.cache import FeatureCache
from captionlab.data.features.growing import Encode, add_records, identities_of, missing_records
from captionlab.data.features.store import FeatureStore
from captionlab.data.records import CaptionRecord

log = logging.getLogger("captionlab")

GIB = 2**30


@dataclass(frozen=True)
class Filling:
    """How images that are missing get into a store: ``encode`` their records in batches.

    ``progress``: from how many there are to a context that gives what is called with numbers done.
    """

    encode: Encode
    batch_size: int
    progress: Callable[[int], AbstractContextManager[Callable[[int], None]]]


class HeldStore:
    """The store ``name`` of a cache, which stays there while the block runs.

    Args:
        key: what made its memory. dtype: of its arrays.
    """

    def __init__(
        self, cache: FeatureCache, name: str, key: Mapping[str, object], dtype: str
    ) -> None:
        self.path = cache.folder / name
        self._cache = cache
        self._name = name
        self._key = key
        self._dtype = dtype
        self._held = ExitStack()
        self._is_held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    def open(
        self, records: Sequence[CaptionRecord], filling: Filling | None
    ) -> FeatureStore | None:
        """Return the store with the memory of all records, filled where it has not got them.

        None without a ``filling`` where some are missing. One process fills, others wait for it.

        Raises:
            UserError: if it would be too large, or a memory cannot be stored.
            OSError: if the cache cannot be read or written.
        """
        identities = identities_of(records)
        self._hold()
        missing = missing_records(self.path, records, identities)
        if missing and filling is not None:
            with self._cache.filling(self._name, self._tell_wait):
                missing = missing_records(self.path, records, identities)
                if missing:
                    self._fill(missing, identities, filling)
            missing = []
        return None if missing else FeatureStore(self.path, identities)

    def _hold(self) -> None:
        """Keep the store from being evicted; a damaged one is removed."""
        if self._is_held:
            return
        self._held.enter_context(self._cache.used(self._name))
        self._is_held = True
        try:
            if (self.path / "index.json").is_file():
                FeatureStore(self.path).require_key(self._key)
        except UserError as error:
            self._held.close()
            if not self._cache.remove(self._name):
                raise
            log.warning("features   removed and stored anew: %s", error)
            self._held.enter_context(self._cache.used(self._name))

    def _tell_wait(self) -> None:
        log.info("features   waiting for another process that fills %s", self.path)

    def _fill(
        self, missing: Sequence[CaptionRecord], identities: Mapping[str, str], filling: Filling
    ) -> None:
        self._reserve(len(missing), filling.encode(missing[:1]))
        with filling.progress(len(missing)) as progress:
            add_records(
                self.path,
                missing,
                identities,
                self._key,
                filling.encode,
                dtype=self._dtype,
                batch_size=filling.batch_size,
                progress=progress,
            )
        self._cache.release(self._name)

    def _reserve(self, images: int, memory: Memory) -> None:
        """Make room for so many images whose memory is like this one's."""
        width = int(self._dtype.removeprefix("float")) // 8
        numbers = memory.slots.numel() + memory.pooled.numel()
        needed = images * (width * numbers + memory.mask.numel())
        wanting = self._cache.reserve(self._name, needed)
        if wanting:
            raise UserError(
                f"the memory of {images:,} images takes {needed / GIB:.2f} GiB, which is "
                f"{wanting / GIB:.2f} GiB more than data.features_cache_gib="
                f"{self._cache.limit / GIB:.3g} leaves in {self._cache.folder}"
            )


def folder_size(path: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.iterdir())
