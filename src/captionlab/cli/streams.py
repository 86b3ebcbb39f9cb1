"""Stdout and stderr of a process: they take any text, and a command goes on when nobody reads them."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import Any

from captionlab.core.errors import UserError

# how a pipe, a socket or a terminal reports that its reader has left
READER_LEFT = {errno.EPIPE, errno.ECONNRESET, errno.EIO}


class LastingWriter(io.FileIO):
    """A descriptor that never raises when it is written: from the first failure on it takes nothing.

    A run must not lose its results because of what it says on the way. ``error`` is that failure.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write what can be written; return as if everything was."""
        remaining = memoryview(data).cast("B")
        while remaining and self.error is None:
            try:
                written = super().write(remaining)
            except OSError as error:
                self.error = error
            else:
                if written is None:  # another program made this pipe one that does not wait
                    os.set_blocking(self.fileno(), True)
                remaining = remaining[written or 0 :]
        return memoryview(data).nbytes

    @property
    def reader_left(self) -> bool:
        """Whether there was a reader, who is gone: ``command | head -1``, a closed terminal."""
        if self.error is None or self.error.errno not in READER_LEFT:
            return False
        return not stat.S_ISREG(os.fstat(self.fileno()).st_mode)  # a broken disk says EIO too


def prepare_streams() -> None:
    """Let stdout and stderr of this process take any text, and outlast their readers.

    Characters that their encoding lacks are written as escapes. Calling it again changes nothing.
    """
    _fill_closed()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__") and _is_plain_file(stream):
                stream = _as_lasting(stream)
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
            stream.reconfigure(errors="backslashreplace")


def has_reader() -> bool:
    """Return whether anybody still reads stdout."""
    raw = _raw(sys.stdout)
    return not (isinstance(raw, LastingWriter) and raw.reader_left)


def require_written() -> None:
    """Check that stdout took everything, or was left by its reader on purpose.

    Raises:
        UserError: if it lies in a file that could not be written.
    """
    if sys.stdout is None:
        return
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    if isinstance(raw, LastingWriter) and raw.error is not None and not raw.reader_left:
        raise UserError(
            f"what this command prints could not be written ({raw.error.strerror}): make room where "
            "stdout goes"
        )


def _fill_closed() -> None:
    """Open what was closed when the process began (``>&-``): its number would be some file's."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        else:
            if getattr(sys, name) is not None:
                continue
        # Python itself may have taken the number for a moment, and a stream over it
        null = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, null)
        setattr(sys, f"__{name}__", null)


def _raw(stream: Any) -> Any:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)  # unbuffered (python -u), there is one layer less


def _is_plain_file(stream: io.TextIOWrapper) -> bool:
    # a console of Windows is none; what a notebook or a test put there is not this process's
    return type(_raw(stream)) is io.FileIO


def _as_lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    raw: Any = LastingWriter(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # python -u buffers nothing
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
