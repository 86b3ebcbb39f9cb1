"""The one exception that means "the user's input is wrong", and the hint it likes to carry."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

# control characters but for the line break and the tab, and lone surrogates
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LONG_WORD = re.compile(r"(\S{200})\S{700,}(\S{100})")
MOST_OPTIONS = 40  # that a sentence lists


class UserError(Exception):
    """Wrong input, in one clear sentence that names the file, line or key, the value and a way out.

    The command line prints the sentence without a traceback and exits with status 2. What it quotes
    of a stranger's file is made harmless to a terminal: control characters are shown as escapes,
    half characters too, and a word of more than a thousand letters is shortened.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(_UNPRINTABLE.sub(_escape, _LONG_WORD.sub(r"\1...\2", sentence)))


def _escape(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode("ascii")


class Notice(UserWarning):
    """Something the user should know although the run goes on; the terminal shows it."""


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"``, or ``"choose from a, b, c"`` where nothing is near.

    Of many options the first few are named.
    """
    names = sorted(str(option) for option in options)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - MOST_OPTIONS:,} more" if len(names) > MOST_OPTIONS else ""
    shown = ", ".join(names[:MOST_OPTIONS])
    return f"choose from {shown}{more}" if names else "there is nothing to choose from"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


# what the machine or another person can do to files, as opposed to a mistake in the program
OF_FILES = {
    errno.ENOSPC: "make room, or choose another folder",
    errno.EDQUOT: "make room, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that can be written, or see who owns it",
    errno.EPERM: "choose a folder that can be written, or see who owns it",
    errno.EISDIR: "move the folder away",
    errno.ENOTDIR: "move the file away",
    errno.ENOENT: "it was there before, or never: look for it",
    errno.EEXIST: "move away what is there",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "a link there leads to itself; remove it",
    errno.EPIPE: "who reads it has left",
    errno.ENXIO: "nothing is behind it",
    errno.EBADF: "it is closed",
    errno.EIO: "look at the disk",
    errno.ESTALE: "mount the folder again",
}


NEED_A_NAME = {errno.ENOENT, errno.EPIPE, errno.EBADF}  # else no file may be meant


def about_file(error: OSError) -> str | None:
    """Return one sentence for a file that cannot be read or written; None for another error."""
    hint = OF_FILES.get(error.errno or 0)
    name = error.filename2 or error.filename
    if hint is None or (name is None and error.errno in NEED_A_NAME):
        return None
    return f"{name or 'a file of this run'} cannot be read or written ({error.strerror}): {hint}"
