"""Locks between processes: files that several hold together, or one alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Hold a lock together with others who share it; wait while somebody holds it alone.

    A file that is there and can only be read will do.

    Raises:
        OSError: if there is no such file and none can be made, or the disk has no locks.
    """
    with _opened(path, readable_is_enough=True) as descriptor:
        _lock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock alone; ``on_wait`` is called once if others hold it, before waiting for them.

    A process that dies lets go of it.

    Raises:
        OSError: if the file cannot be made, or the disk has no locks.
    """
    with _opened(path) as descriptor:
        if not _try(descriptor):
            on_wait()
            _lock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def exclusive_lock_if_free(path: Path) -> Iterator[bool]:
    """Give whether nobody held a lock; if so it is held alone, without a wait.

    Raises:
        OSError: as ``exclusive_lock`` does.
    """
    with _opened(path) as descriptor:
        yield _try(descriptor)


@contextmanager
def _opened(path: Path, *, readable_is_enough: bool = False) -> Iterator[int]:
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "this system has no file locks of POSIX", str(path))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        if not readable_is_enough:
            raise
        descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # which lets go of the lock


def _lock(descriptor: int, kind: int) -> None:
    # flock, not a record lock: that is lost when any descriptor of the file is closed, and two jobs
    # of one process would share it
    fcntl.flock(descriptor, kind)


def _try(descriptor: int) -> bool:
    try:
        _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True
