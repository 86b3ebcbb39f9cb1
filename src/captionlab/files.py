"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which takes its place if the block succeeds.

    If the block fails or is interrupted, the old file stays and nothing is left beside it. The
    process id is in the temporary name, because several ranks of one run may write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename in (
            None,
            str(temporary),
        ):  # nobody knows the temporary name
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):  # on a disk that became read-only there is a better message
            temporary.unlink(missing_ok=True)
