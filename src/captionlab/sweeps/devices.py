"""The devices of this machine, dealt to jobs that run at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from omegaconf import DictConfig

from captionlab.core.errors import UserError
from captionlab.core.processors import available_cores
from captionlab.sweeps.jobs import Job


def num_devices(config: DictConfig) -> int:
    """Return how many GPUs a job's trainer asks for; one where it leaves that open, none on CPUs."""
    if config.trainer.get("accelerator") == "cpu":
        return 0
    devices = config.trainer.devices
    if isinstance(devices, int):
        return max(1, devices)
    return 1 if isinstance(devices, str) else len(devices)


class DevicePool:
    """Lends groups of GPUs, or shares of the cores, to jobs.

    ``threads``: OpenMP's threads a process; None: what the environment says.
    """

    def __init__(self, groups: Sequence[Sequence[str]], threads: int | None) -> None:
        self._free = list(groups)
        self.count = len(groups)
        self.threads = threads
        self._lock = threading.Lock()

    @classmethod
    def of_machine(
        cls, jobs: Sequence[Job], at_a_time: int | None, threads: int | None = None
    ) -> DevicePool:
        """Return groups of as many GPUs as the largest job asks for; without GPUs, cores.

        ``threads``: where they are not to be a share of the cores.

        Raises:
            UserError: if the machine has fewer GPUs, or ``at_a_time`` is no number of jobs.
        """
        if at_a_time is not None and at_a_time < 1:
            raise UserError(f"hydra.launcher.at_a_time={at_a_time} must be at least 1, or null")
        gpus = visible_gpus()
        size = max(job.num_devices for job in jobs)
        if not gpus or not size:
            count = min(at_a_time or 1, len(jobs))
            is_free = count > 1 and "OMP_NUM_THREADS" not in os.environ
            share = max(1, available_cores() // count) if is_free else None
            return cls([[]] * count, share if threads is None else threads)
        if size > len(gpus):
            raise UserError(
                f"trainer.devices={size}: this machine has {len(gpus)} GPUs for the jobs of a sweep"
            )
        groups = [gpus[i : i + size] for i in range(0, len(gpus) - size + 1, size)]
        # more jobs than groups share GPUs only if that is asked for
        count = min(at_a_time or len(groups), len(jobs))
        return cls([groups[i % len(groups)] for i in range(count)], threads)

    @contextmanager
    def lend(self) -> Iterator[Sequence[str]]:
        """Lend a group of GPUs, by name; an empty one on a machine without."""
        with self._lock:
            group = self._free.pop(0)
        try:
            yield group
        finally:
            with self._lock:
                self._free.append(group)


def visible_gpus() -> list[str]:
    """Return the GPUs that jobs may use, by the names that CUDA_VISIBLE_DEVICES knows."""
    import torch

    count = torch.cuda.device_count()
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[:count] if names else [str(i) for i in range(count)]
