"""How a command answers wrong input: one sentence on stderr, and status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from captionlab.cli.streams import prepare_streams
from captionlab.core.errors import UserError

FULL_ERROR = "HYDRA_FULL_ERROR"


def debugging() -> bool:
    """Return whether the user wants tracebacks; takes ``--debug`` out of the command line."""
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        os.environ[FULL_ERROR] = "1"
    return os.environ.get(FULL_ERROR, "0") not in ("", "0")


@contextmanager
def explained_errors(debug: bool) -> Iterator[None]:
    """Turn wrong input into one sentence on stderr and exit status 2, unless debugging.

    Every process of ours comes through here, whoever started it; what it prints can end none.
    """
    prepare_streams()
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        sentence = _sentence(error)
        if debug or sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


def _sentence(error: Exception) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    from captionlab.config.explain import explain  # it imports Hydra

    return explain(error, sys.argv[1:])
