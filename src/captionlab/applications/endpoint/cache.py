"""Answers kept on disk, one file each: a run that was stopped asks nothing again."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from captionlab.applications.endpoint.answers import LONGEST_CAPTION, clean
from captionlab.core.errors import UserError

LARGEST_ENTRY = 2**18  # bytes: a question with a long prompt, and its answer
FORMAT = 1
# what stands in the way of an entry, as opposed to a disk that cannot be written
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)


class AnswerCache:
    """Captions by what was asked. An entry that cannot be used counts as not there.

    Files are made under names of their own and renamed, so that no link, pipe or folder that
    somebody left under an entry's name is followed or written into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "endpoint"
        self.ignored: list[str] = []
        """What was in the way, in words."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UserError(
                f"answers cannot be kept in {self.folder} ({error.strerror}): let CAPTIONLAB_CACHE name "
                "a folder that can be written"
            ) from None

    def path(self, question: Mapping[str, object]) -> Path:
        """Return where the answer to a question lies."""
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.json"

    def read(self, question: Mapping[str, object]) -> str | None:
        """Return the caption that was given, None where it must be asked for."""
        path = self.path(question)
        try:
            return _caption_of(path, question)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._ignore(path, error.strerror or "it cannot be read")
        except _UnusableError as reason:
            self._ignore(path, str(reason))
        return None

    def write(self, question: Mapping[str, object], caption: str) -> None:
        """Keep a caption.

        Raises:
            OSError: if the disk is full or read-only.
        """
        path = self.path(question)
        entry = {"format": FORMAT, "question": question, "caption": caption}
        try:
            path.parent.mkdir(exist_ok=True, mode=0o700)
            _write_new(path, json.dumps(entry, indent=1).encode())
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                error.filename, error.filename2 = str(path), None
                raise
            self._ignore(path, error.strerror or "something is in its way")

    def _ignore(self, path: Path, reason: str) -> None:
        self.ignored.append(f"{path} ({reason})")


class _UnusableError(Exception):
    """An entry that is none; says why."""


def _caption_of(path: Path, question: Mapping[str, object]) -> str:
    try:
        entry = json.loads(_read_regular(path))
    except (ValueError, RecursionError):
        raise _UnusableError("it is no JSON") from None
    expected = json.loads(json.dumps({"format": FORMAT, "question": question}))
    caption = entry.pop("caption", None) if isinstance(entry, dict) else None
    if entry != expected:
        raise _UnusableError("it answers another question")
    if not isinstance(caption, str) or not 0 < len(caption) <= LONGEST_CAPTION:
        raise _UnusableError("it holds no caption")
    if clean(caption, None) != caption:
        raise _UnusableError("its caption is no clean line")
    return caption


def _read_regular(path: Path) -> bytes:
    """Return the bytes of a file that is one, is no link, and is no larger than an entry."""
    flags = ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
    descriptor = os.open(path, sum((getattr(os, name, 0) for name in flags), os.O_RDONLY))
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise _UnusableError("it is no plain file")
        if about.st_size > LARGEST_ENTRY:
            raise _UnusableError("it is too large")
        return file.read(LARGEST_ENTRY)


def _write_new(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
