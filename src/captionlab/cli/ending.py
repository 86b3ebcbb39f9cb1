"""How a process of several ends: with its status, whatever its libraries' threads still do."""

from __future__ import annotations

import atexit
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def exit_with_own_status() -> Iterator[None]:
    """Let the program end at the end of the block, with the status that it has there.

    Where the block left a process group, the interpreter is not taken apart: gloo's threads live as
    long as anything holds the group (PyTorch itself does, as a default argument of functions that
    were imported late), and one that wants to run Python then (to free a tensor) is ended by the
    interpreter within C++, which makes "terminate called without an active exception" of it, and
    SIGABRT of the status. Destroying the group first is no way where a rank failed: it waits for the
    other ranks. What was registered for the end of the program is done.
    """
    if _has_group():  # another program's, which goes on
        yield
        return
    status = 0
    try:
        yield
    except SystemExit as error:
        if not _has_group():
            raise
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        if not _has_group():
            raise
        traceback.print_exc()
        status = 1
    if _has_group():
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def _has_group() -> bool:
    """Return whether this process belongs to a group, or has threads of one that is held.

    Asks without importing torch.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available():
        return False
    return bool(distributed.is_initialized()) or any("gloo" in name for name in _threads())


def _threads() -> list[str]:
    """Return the names of this process's threads, Python's own or not; none where no one tells."""
    names = []
    with suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError):
                names.append(Path(f"/proc/self/task/{thread}/comm").read_text().strip())
    return names
