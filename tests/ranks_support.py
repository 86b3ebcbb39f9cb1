"""Ranks of a process group in processes of their own, which end with their status and no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[[int, Path], None]


def run_ranks(work: Work, folder: Path, ranks: int = 2) -> None:
    """Call ``work(rank, folder)`` in so many processes of one gloo group; raise what one raised."""
    mp.spawn(_rank, args=(work, folder, ranks), nprocs=ranks)


def _rank(rank: int, work: Work, folder: Path, ranks: int) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    work(rank, folder)
    dist.barrier()
    # gloo's threads may outlive the group and abort an interpreter that is being taken apart: see
    # captionlab.cli.ending
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
