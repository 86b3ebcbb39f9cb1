"""What is printed never ends a program: any encoding, and a reader that has gone."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any


def tolerate_encodings() -> None:
    """Let stdout and stderr write what their encoding lacks as an escape (``\\u72d7``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tolerate_closing() -> None:
    """Let a long run go on where what reads its stdout or stderr ends (``| head``, a full tee)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # with PYTHONUNBUFFERED there is no buffer around the file
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if not isinstance(raw, io.FileIO):
            continue
        stream.flush()
        lasting: Any = Unbreakable(stream.fileno())
        lasting = io.TextIOWrapper(
            lasting if raw is stream.buffer else io.BufferedWriter(lasting),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, lasting)


def discard_output() -> None:
    """Send what is still printed nowhere, after the reader of stdout has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())


class Unbreakable(io.RawIOBase):
    """Writes to a file descriptor until its reader goes, and nowhere from then on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Write some of the bytes; return how many."""
        if not self._gone:
            try:
                return os.write(self._descriptor, content)
            except BrokenPipeError:
                self._gone = True
        return len(content)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the file descriptor is a terminal."""
        return os.isatty(self._descriptor)
