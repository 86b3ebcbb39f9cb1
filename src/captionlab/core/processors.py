"""The processor cores that a process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return how many loading processes to start: the cores this process may use, 16 at most."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return min(cores, 16)
