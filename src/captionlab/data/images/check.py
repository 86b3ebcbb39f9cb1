"""Which images of a split can be decoded: asked once, before training, on all cores."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from captionlab.core.caches import cache_folder
from captionlab.data.images.files import broken_reason
from captionlab.data.images.packed import PackedImage
from captionlab.data.records import CaptionRecord, keep_records

logger = logging.getLogger(__name__)

# below this the check takes less than a second, so nothing is remembered
REMEMBER_FROM = 2000


def drop_broken(
    records: Sequence[CaptionRecord], *, policy: str = "error", split: str = "train"
) -> list[CaptionRecord]:
    """Return the records whose image can be decoded; drawn images always can.

    Raises:
        UserError: with policy "error", if any cannot: how many, the first five and why; with
            policy "skip" (which logs their number), if none is left; for another policy.
    """
    paths = [record.image for record in records if isinstance(record.image, Path | PackedImage)]
    return keep_records(records, find_broken(paths), what="broken", policy=policy, split=split)


def find_broken(paths: Sequence[Path | PackedImage]) -> dict[Path | PackedImage, str]:
    """Return image -> reason of all that cannot be decoded.

    Sound files of a large data set are remembered with size and time of change below the user's
    cache folder (``core.caches``), so that only the first run waits for the check.
    """
    memory = SoundImages(paths) if len(paths) >= REMEMBER_FROM else None
    todo = [path for path in paths if memory is None or path not in memory]
    broken: dict[Path | PackedImage, str] = {}
    start = noted = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        reasons = pool.map(broken_reason, todo)
        for count, (path, reason) in enumerate(zip(todo, reasons, strict=True), start=1):
            if reason is not None:
                broken[path] = reason
            if time.monotonic() - noted > 10:
                noted = time.monotonic()
                left = (noted - start) / count * (len(todo) - count)
                logger.info("checking images: %d of %d, %.0f s left", count, len(todo), left)
    if memory is not None and todo:
        memory.save(path for path in todo if path not in broken)
    return broken


class SoundImages:
    """The files that an earlier run found sound, as long as their size and time stay the same."""

    def __init__(self, paths: Sequence[Path | PackedImage]) -> None:
        folders = sorted({str(_file(path).parent.absolute()) for path in paths})
        name = hashlib.sha256("\n".join(folders).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._file = cache_folder() / f"sound-images-{name}.json"
        self._known: dict[str, str] = {}
        # the first run, or a file that another program damaged: check again
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(self._file.read_text("utf-8"))

    def __contains__(self, path: Path | PackedImage) -> bool:
        stamp = self._known.get(_key(path))
        return stamp is not None and stamp == self._stamp(path)

    def save(self, paths: Iterable[Path | PackedImage]) -> None:
        """Remember these files too; a home that cannot be written to is no reason to stop."""
        for path in paths:
            self._known[_key(path)] = self._stamp(path)
        partial = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._known), "utf-8")
            # at once, because several ranks of one run may write
            partial.replace(self._file)
        except OSError as error:
            logger.info("sound images are not remembered: %s", error)

    @staticmethod
    def _stamp(path: Path | PackedImage) -> str:
        status = _file(path).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


def _file(image: Path | PackedImage) -> Path:
    return image.file if isinstance(image, PackedImage) else image


def _key(image: Path | PackedImage) -> str:
    return os.path.abspath(str(image))
