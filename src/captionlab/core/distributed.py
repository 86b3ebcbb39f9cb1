"""What several processes of one run ask of each other; in a single process every call is free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    """Return whether this process is connected with others of its run."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Return the number of processes of the run."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if is_distributed() else 0


def all_gather_object(value: T) -> list[T]:
    """Return the values of all ranks, in their order; every rank must call it."""
    if not is_distributed():
        return [value]
    gathered: list[T] = [value] * world_size()
    dist.all_gather_object(gathered, value)
    return gathered


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Write the first rank's values into the tensors of all ranks; every rank must call it."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
