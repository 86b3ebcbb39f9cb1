"""The one exception that means "the user's input is wrong", and the hint it likes to carry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input, in one clear sentence that names the file, line or key, the value and a way out.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class Notice(UserWarning):
    """Something the user should know although the run goes on; the terminal shows it."""


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"``, or ``"choose from a, b, c"`` where nothing is near."""
    names = sorted(str(option) for option in options)
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"choose from {', '.join(names)}" if names else "there is nothing to choose from"
