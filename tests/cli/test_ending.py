"""A process of several ends with its own status, whatever gloo's threads still do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests_support import HANG

# The last exchange ends while rank 0 is on its way out and holds the interpreter's lock: then gloo's
# thread, which frees a tensor, asks for the lock of an interpreter that is being taken apart.
LEAVE = """
import atexit, contextlib, os, sys, time
import torch, torch.distributed as dist
from captionlab.cli.ending import exit_with_own_status
rank, folder, status = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
end = exit_with_own_status() if "with" in sys.argv else contextlib.nullcontext()
with end:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    import torch.distributed.nn.functional  # keeps the group
    numbers = torch.ones(10)
    time.sleep(2 * rank)
    work = dist.all_reduce(numbers, async_op=True)
    if rank == 1:
        work.wait()
    del numbers, work
    dist.destroy_process_group() if not status else None  # which leaves the threads of a held one
    if rank == 0:
        atexit.register(sum, range(10**8 * 3))
    sys.exit(status)
"""


def statuses(folder: Path, status: int, how: str) -> list[int]:
    ranks = [
        subprocess.Popen([sys.executable, "-c", LEAVE, str(rank), str(folder), str(status), how])
        for rank in (0, 1)
    ]
    return [rank.wait(HANG) for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 2])
def test_the_status_is_the_programs_own(status: int, tmp_path: Path):
    assert statuses(tmp_path, status, "with") == [status, status]
