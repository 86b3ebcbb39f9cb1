"""Files that are whole or not there; paths as people type them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError

_MOST_LINKS = 40


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path, whose file takes the place of ``path`` if the block succeeds.

    Where ``path`` is a link, the file it leads to is replaced. A pipe, a device or a descriptor
    (``/dev/stdout``) is written into. If the block fails or is interrupted, the old file stays and
    nothing is left beside it. The process id is in the temporary name, because several ranks of one
    run may write.

    Raises:
        IsADirectoryError: at once, if it is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder, "written")
            with _named(path, temporary):
                yield temporary
                _pour(temporary, path)
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with _named(path, temporary):
            if target.is_symlink():  # what cannot be followed to an end
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            yield temporary
            os.replace(temporary, target)
    finally:
        with suppress(OSError):  # on a disk that became read-only there is a better message
            temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors name the path: nobody knows the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


def _is_stream(path: Path) -> bool:
    """Return whether what is written there goes somewhere else than into a file of that name."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _descriptor(path: Path) -> int | None:
    """Return the number of this process's descriptor that a path stands for, or None."""
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(path.name) if path.name.isdecimal() else None
        if not path.is_symlink():
            return None
        path = Path(folder, os.readlink(path))
    return None


def _pour(source: Path, path: Path) -> None:
    """Write the bytes of a file into a stream.

    A descriptor is written as it stands: opened by its name, a file that stdout was sent to would
    begin anew.
    """
    descriptor = _descriptor(path)
    if descriptor is not None and sys.stdout is not None:
        sys.stdout.flush()
    with (
        source.open("rb") as read,
        open(path if descriptor is None else os.dup(descriptor), "wb") as written,
    ):
        shutil.copyfileobj(read, written)


def read_json(path: Path) -> object:
    """Return what a JSON file of captionlab's own kind holds.

    Raises:
        ValueError: if it is no JSON in UTF-8, or is nested too deeply to be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require_file_place(
    path: str, option: str, *, new_folder: bool = False, binary: bool = False
) -> Path:
    """Return where an option's file is to be written, looked at before any work is done.

    ``option`` goes before the path in a message: ``"--out "``; ``new_folder``: its folder is made;
    ``binary``: it need not be a text, and may take the place of what is none.

    Raises:
        UserError: if it is an address or a folder, its folder is not there, or a text would take
            the place of a checkpoint, a photograph or another file that is no text.
    """
    require_local(path, option, written=True)
    file = Path(path)
    if file.is_dir():
        raise UserError(f"{option}{path} is a folder: name a file in it")
    if _is_stream(file):
        return file
    if not binary and _is_binary(file):
        raise UserError(f"{option}{path} is there and is no text: name another file")
    folder = Path(os.path.realpath(file)).parent if file.is_symlink() else file.parent
    if new_folder:
        require_folder_place(str(folder), option)
    elif not folder.is_dir():
        raise UserError(f"{option}{path}: there is no folder {folder}")
    return file


def _is_binary(file: Path) -> bool:
    """Return whether a file is there that is no text, as far as its beginning shows."""
    try:
        with file.open("rb") as opened:
            return b"\0" in opened.read(4096)
    except OSError:
        return False


def require_folder_place(path: str, option: str) -> Path:
    """Return the folder an option names, which may not be there yet.

    ``option`` goes before the path in a message: ``"--out "``, ``"out="``.

    Raises:
        UserError: if it is an address, or something else than a folder stands there or above.
    """
    require_local(path, option, written=True)
    folder = Path(path)
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        if os.path.lexists(place):
            raise UserError(f"{option}{path}: {place} is no folder; choose another place")
    return folder
