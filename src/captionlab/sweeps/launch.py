"""The jobs of a multirun as processes of their own: devices dealt out, finished jobs kept."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from captionlab.config.override_syntax import override_text
from captionlab.core.errors import UserError
from captionlab.data.datamodule import available_cores
from captionlab.sweeps.jobs import (
    ELSEWHERE,
    SCORE,
    SCORE_FILE,
    finished,
    interrupted,
    read_score,
    require_same,
)
from captionlab.training.loggers.dashboards import JOB_TITLE, SWEEP_NAME

LOOK_EVERY = 1.0  # seconds between looks at a job that may be poor


@dataclass(frozen=True)
class Job:
    """One point of a sweep."""

    number: int
    overrides: list[str]
    folder: Path
    devices: int  # GPUs it wants
    title: str  # what tells it from the others

    @property
    def log(self) -> Path:
        """Where its output goes: beside its folder, which a job that is refused leaves empty."""
        return self.folder.parent / f"{self.folder.name}.log"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its score, or what it said last."""

    score: float | None = None
    failure: str | None = None
    pruned: bool = False  # it was ended early


def launch(
    planned: Sequence[tuple[int, list[str], DictConfig]], at_a_time: int | None
) -> list[JobReturn]:
    """Run the jobs (number, overrides, composed configuration), and return what Hydra's sweepers read.

    Raises:
        UserError: if a folder holds another job, or the machine lacks the devices of one.
    """
    common = set.intersection(*(set(overrides) for _, overrides, _ in planned))
    jobs = [
        Job(number, overrides, folder_of(config), wanted(config), titled(overrides, common))
        for number, overrides, config in planned
    ]
    for job in jobs:
        require_same(job.folder, job.overrides)
    slots = Devices.of_machine(jobs, at_a_time)
    with ThreadPoolExecutor(slots.count) as pool:
        try:
            last = jobs[-1].number + 1
            outcomes = list(pool.map(lambda job: run(job, slots, last), jobs))
        except KeyboardInterrupt:
            # the terminal told the jobs too: they save and leave
            pool.shutdown(cancel_futures=True)
            raise
    returned = [answer(*one) for one in zip(planned, outcomes, strict=True)]
    failed = [job for job, one in zip(jobs, outcomes, strict=True) if one.failure is not None]
    done = f"{len(jobs) - len(failed)} of {len(jobs)} jobs are finished"
    where = jobs[0].folder.parent
    compare = f"captionlab compare {shlex.quote(str(where))}"
    print(f"{done}; {compare}" if len(failed) < len(jobs) else done, flush=True)
    if failed:
        place = shlex.quote(override_text("hydra.sweep.dir", str(where)))
        again = f"the same command with {place} tries them again"
        print(f"failed: {', '.join(str(job.log) for job in failed)}; {again}", file=sys.stderr)
    return returned


def folder_of(config: DictConfig) -> Path:
    """Return the folder of a job."""
    return Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)


def titled(overrides: Sequence[str], common: set[str]) -> str:
    """Return the overrides that not all jobs share."""
    return " ".join(o for o in overrides if o not in common) or " ".join(overrides)


def wanted(config: DictConfig) -> int:
    """Return how many GPUs a job's trainer asks for; one where it leaves that open."""
    devices = config.trainer.devices
    if isinstance(devices, int):
        return max(1, devices)
    return 1 if isinstance(devices, str) else len(devices)


class Devices:
    """Deals the GPUs of this machine, or its cores, to jobs."""

    def __init__(self, groups: Sequence[Sequence[str]], threads: int | None) -> None:
        self._free = list(groups)
        self.count = len(groups)
        self.threads = threads
        self._lock = threading.Lock()

    @classmethod
    def of_machine(cls, jobs: Sequence[Job], at_a_time: int | None) -> Devices:
        """Return groups of as many GPUs as the largest job wants; without GPUs, cores.

        Raises:
            UserError: if the machine has fewer GPUs, or ``at_a_time`` is no number of jobs.
        """
        if at_a_time is not None and at_a_time < 1:
            raise UserError(f"hydra.launcher.at_a_time={at_a_time} must be at least 1, or null")
        gpus = visible_gpus()
        each = max(job.devices for job in jobs)
        if not gpus:
            count = min(at_a_time or 1, len(jobs))
            return cls([[]] * count, max(1, available_cores() // count) if count > 1 else None)
        if each > len(gpus):
            raise UserError(
                f"trainer.devices={each}: this machine has {len(gpus)} GPUs for the jobs of a sweep"
            )
        groups = [gpus[i : i + each] for i in range(0, len(gpus) - each + 1, each)]
        # more jobs than groups share GPUs only if that is asked for
        count = min(at_a_time or len(groups), len(jobs))
        return cls([groups[i % len(groups)] for i in range(count)], None)

    @contextmanager
    def taken(self) -> Any:
        """Lend a group of GPUs."""
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


def run(
    job: Job, devices: Devices, jobs: int, is_poor: Callable[[], bool] = lambda: False
) -> Outcome:
    """Run a job to its end, unless it was finished before; go on with an interrupted one.

    ``is_poor`` is asked every second; a job that is poor is told to leave.
    """
    name = f"job {job.number + 1} of {jobs}  {job.title}"
    score = job.folder / SCORE_FILE
    if (before := finished(job.folder)) is not None:
        print(f"{name}: finished before", flush=True)
        return Outcome(before["score"])
    with devices.taken() as group:
        on = f" on GPU {','.join(group)}" if group else ""
        last = interrupted(job.folder)
        print(f"{name}: {'goes on' if last else 'begins'}{on}", flush=True)
        began = time.monotonic()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("wb") as log:
            process = subprocess.Popen(
                command(job, last),
                env=environment(job, group, devices.threads),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            pruned = False
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY)
                if not pruned and process.poll() is None and is_poor():
                    process.terminate()
                    pruned = True
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    taken = f"{minutes}:{seconds:02}"
    status = process.returncode
    if pruned and finished(job.folder) is None:  # else the word to leave came too late
        print(f"{name}: ended after {taken}, below the median", flush=True)
        return Outcome(pruned=True)
    if not pruned and (status or not score.exists()):
        said = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = next(
            (line for line in reversed(said) if line.startswith("error:")), (said or [""])[-1]
        )
        print(f"{name}: failed after {taken}, status {status}: {why}", flush=True)
        return Outcome(failure=why)
    value = read_score(score)
    print(f"{name}: finished in {taken}" + ("" if value is None else f", {value:.4f}"), flush=True)
    return Outcome(value)


def command(job: Job, last: Path | None) -> list[str]:
    """Return the command line of a job: what a user would type for it alone."""
    script = Path(sys.argv[0])
    door = [str(script)] if script.name == "train.py" else ["-m", "captionlab.cli.hydra_main"]
    overrides = job.overrides
    if last is not None:
        overrides = [o for o in overrides if not o.startswith(ELSEWHERE)]
        overrides.append(override_text("ckpt", str(last)))
    return [sys.executable, *door, *overrides, override_text("hydra.run.dir", str(job.folder))]


def environment(job: Job, group: Sequence[str], threads: int | None) -> Mapping[str, str]:
    """Return a job's environment: its own GPUs, or its share of the cores."""
    found = {
        **os.environ,
        SCORE: str(job.folder / SCORE_FILE),
        SWEEP_NAME: job.folder.parent.name,
        JOB_TITLE: job.title,
        # its log is a file, which the encoding of this terminal does not concern
        "PYTHONIOENCODING": "utf-8",
    }
    if group:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(group)
    if threads is not None:
        found.setdefault("OMP_NUM_THREADS", str(threads))
    return found


def answer(planned: tuple[int, list[str], DictConfig], outcome: Outcome) -> JobReturn:
    """Return an outcome as Hydra's sweepers read it."""
    _, overrides, config = planned
    found = JobReturn(overrides=overrides, cfg=config, task_name="train")
    if outcome.failure is None:
        found.status, found.return_value = JobStatus.COMPLETED, outcome.score
    else:
        # asked for the value of a failed job, Hydra raises what stands there
        found.status, found.return_value = JobStatus.FAILED, SystemExit(1)
    return found
