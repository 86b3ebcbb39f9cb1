"""What a process of ours sets before it loads torch."""

from __future__ import annotations

import os


def prepare_process() -> None:
    """Let OpenMP's threads sleep soon while they wait, unless the user says how long they spin.

    They spin for long by default, which costs whatever else runs on the same cores dearly; a short
    spin is as fast alone. libgomp reads it when torch is loaded, which must be later.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
