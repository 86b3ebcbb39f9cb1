"""A new exported folder: all of it there, with a list of what is in it, or nothing at all.

``captionlab.json`` is the list (``captionlab.inference.export.manifest`` reads it):
``{captionlab_export, format, precision, config, tokenizer, image, files, ...}``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.core.files import file_sha256, require_folder_place

MANIFEST = "captionlab.json"
EXPORT_KEY = "captionlab_export"
FORMAT_VERSION = 1
CARD = "README.md"


def is_export(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder with an export's list of files."""
    return os.path.lexists(os.path.join(path, MANIFEST))


@contextmanager
def new_export(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that takes the place of ``folder`` if the block succeeds.

    If the block fails or is interrupted, what was there stays as it was and nothing is left beside it.

    Raises:
        UserError: at once, if something stands there that may not be replaced (``require_free``).
    """
    require_free(folder, overwrite=overwrite)
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        require_free(folder, overwrite=overwrite)  # it took its time
        _put(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its place; the earlier one is removed when that has worked."""
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(earlier)
    try:
        temporary.rename(folder)
    except OSError:
        earlier.rename(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Check that an export may be written to a folder.

    Raises:
        UserError: if it holds anything, but for an unchanged earlier export with ``overwrite``.
    """
    require_folder_place(str(folder), "--out ")
    try:
        inside = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    if not inside:
        return
    if MANIFEST not in inside:
        raise UserError(
            f"--out {folder} holds {inside[0]} and is no earlier export: choose a new folder"
        )
    if not overwrite:
        raise UserError(
            f"--out {folder} holds an earlier export: choose another folder, or say --overwrite"
        )
    foreign = _foreign(folder, inside)
    if foreign is not None:
        raise UserError(
            f"--out {folder} holds {foreign}, which is not as an export wrote it: move it away, or "
            "choose another folder"
        )


def _foreign(folder: Path, inside: list[str]) -> str | None:
    """Return the first name in an export's folder that is not as the export left it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = manifest["files"]
        for name in inside:
            if name != MANIFEST and file_entry(folder / name) != listed.get(name):
                return name
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return MANIFEST
    return None


def file_entry(path: Path) -> dict[str, object]:
    """Return the size of a file in bytes and its SHA-256, as the list holds them."""
    if not path.is_file() or path.is_symlink():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


def write_manifest(folder: Path, entries: Mapping[str, object]) -> None:
    """Write the list of a folder whose other files are complete.

    ``entries`` are format, precision, config, tokenizer and image, and what the format adds.

    Raises:
        UserError: for a number among them that JSON does not have.
    """
    files = {path.name: file_entry(path) for path in sorted(folder.iterdir())}
    manifest = {EXPORT_KEY: FORMAT_VERSION, **entries, "files": files}
    try:
        text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1)
    except ValueError as error:
        raise UserError(f"the settings cannot be written as JSON: {error}") from error
    manifest_file = folder / MANIFEST
    # half a surrogate, of a name that is no UTF-8, is written as JSON escapes it
    manifest_file.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    for name in files:  # some libraries write files that nobody else may read
        (folder / name).chmod(stat.S_IMODE(manifest_file.stat().st_mode))
