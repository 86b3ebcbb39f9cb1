"""The files below a data set's root; what a link leads out of it to is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.images.formats import is_picture
from captionlab.data.readers.files import listed

MOST_FILES = 20_000_000
DEEPEST = 64  # folders in folders


@dataclass
class Listing:
    """Names of files below ``root``, relative to it with slashes, in order of folders and names.

    ``outside``: links that lead out of the root. They are not followed: a stranger's archive could
    make any file of this machine a caption.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def pictures(self) -> list[str]:
        """Return the files with the ending of a picture."""
        return [name for name in self.files if is_picture(name)]

    def require_pictures(self, layout: str) -> list[str]:
        """Return the pictures.

        Raises:
            UserError: if there are none.
        """
        pictures = self.pictures()
        if pictures:
            return pictures
        links = (
            f"; links lead out of it ({listed(self.outside)}): name the folder that holds both"
            if self.outside
            else ""
        )
        raise UserError(f"data.root={self.root} holds no picture{links}; expected layout: {layout}")


def list_files(root: Path) -> Listing:
    """Return all files below ``root`` but hidden ones.

    Raises:
        UserError: if there are more than MOST_FILES, or folders lie deeper than DEEPEST.
    """
    listing = Listing(root)
    real = os.path.realpath(root)
    for name in _walk(root, "", real, {real}, listing.outside):
        listing.files.append(name)
        if len(listing.files) > MOST_FILES:
            raise UserError(f"data.root={root} holds more than {MOST_FILES:,} files: name a part")
    return listing


def lies_inside(path: str | Path, real_root: str) -> bool:
    """Return whether a path, its links followed, lies below a real folder."""
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root.rstrip("/") + "/")


def _walk(
    folder: Path, prefix: str, real: str, seen: set[str], outside: list[str]
) -> Iterator[str]:
    if prefix.count("/") > DEEPEST:
        raise UserError(f"{folder} lies more than {DEEPEST} folders deep: name it as data.root")
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        if not _is_unicode(name):  # it could not be written as an image's id
            raise UserError(f"{folder} holds {entry.name!a}, whose name is not UTF-8: rename it")
        if entry.is_symlink():
            if not lies_inside(entry.path, real):
                outside.append(name)
                continue
            target = os.path.realpath(entry.path)
            if entry.is_dir() and (target in seen or lies_inside(folder, target)):
                continue  # a circle
            seen.add(target)
        if entry.is_dir():
            yield from _walk(Path(entry.path), name + "/", real, seen, outside)
        elif entry.is_file():
            yield name


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
