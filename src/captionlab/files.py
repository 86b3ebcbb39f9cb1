"""Files that are whole or not there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captionlab.errors import UserError

# s3://bucket, and https:/host, which pathlib makes of two slashes; C:\\ is a drive
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def refuse_address(path: str | os.PathLike[str], key: str = "") -> None:
    """Raise UserError for an address in place of a path: nothing is fetched.

    Args:
        key: the setting that holds it, as ``data.root``, if it is one.
    """
    text = os.fspath(path)
    if _ADDRESS.match(text) and not os.path.exists(text):
        raise UserError(
            f"{f'{key}=' if key else ''}{text} is an address, and captionlab fetches nothing: "
            "download it first, and give the path of the file or folder"
        )


def is_stream(path: Path) -> bool:
    """Return whether writing to ``path`` goes to a pipe, a device or an open file of a process."""
    if path.is_relative_to("/dev") or path.is_relative_to("/proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, which takes its place if the block succeeds.

    If the block fails or is interrupted, the old file stays and nothing is left beside it. The
    process id is in the temporary name, because several ranks of one run may write. What is no
    file (a pipe, /dev/stdout) is written itself, and of a link what it leads to is replaced.
    """
    if is_stream(path):
        yield path
        return
    path = Path(os.path.realpath(path))
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
