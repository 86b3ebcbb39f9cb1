"""A bar on a terminal that shows how far a command is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called with how many more are done, and with what is done from then on where that changes."""

    def __call__(self, more: int, what: str | None = None) -> None:
        """Move the bar."""


@contextmanager
def progress(what: str, total: int, *, transient: bool = False) -> Iterator[Advance]:
    """Yield what is called with how many of ``total`` more are done; nothing is shown to a file.

    ``transient``: nothing is left of the bar at the end.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda more, what=None: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task(what, total=total)

        def advance(more: int, what: str | None = None) -> None:
            bar.update(task, advance=more, description=what)

        yield advance
