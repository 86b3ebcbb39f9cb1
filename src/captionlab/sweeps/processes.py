"""A job as a process of its own: started, watched, its end reported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from captionlab.config.override_syntax import WEIGHTS_OVERRIDES, override_text
from captionlab.config.search_path import as_arguments
from captionlab.sweeps.devices import DevicePool
from captionlab.sweeps.jobs import (
    Job,
    job_overrides,
    last_checkpoint,
    read_finished,
    read_score,
)

POLL_SECONDS = 1.0  # between looks at a job that may have to be pruned


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its score, or its last line of output."""

    score: float | None = None
    failure: str | None = None
    pruned: bool = False  # it was ended early


def never() -> bool:
    """Return False: a job that nobody prunes."""
    return False


def run_job(
    job: Job, devices: DevicePool, num_jobs: int, should_prune: Callable[[], bool] = never
) -> Outcome:
    """Run a job to its end, unless it was finished before; go on with an interrupted one.

    ``should_prune`` is asked every second; where it says so, the job is ended early.
    """
    name = f"job {job.number + 1} of {num_jobs}  {job.title}"
    if (before := read_finished(job.folder)) is not None:
        print(f"{name}: finished before", flush=True)
        return Outcome(before.score)
    with devices.lend() as group:
        gpus = f" on GPU {','.join(group)}" if group else ""
        checkpoint = last_checkpoint(job.folder)
        print(f"{name}: {'goes on' if checkpoint else 'begins'}{gpus}", flush=True)
        start = time.monotonic()
        status, pruned = _run_process(
            job, command(job, checkpoint), environment(group, devices.threads), should_prune
        )
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    return _report(job, name, f"{minutes}:{seconds:02}", status, pruned)


def _run_process(
    job: Job,
    arguments: Sequence[str],
    env: Mapping[str, str],
    should_prune: Callable[[], bool],
) -> tuple[int, bool]:
    """Return a job's exit status, and whether it was told to end early."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        process = subprocess.Popen(arguments, env=env, stdout=log, stderr=subprocess.STDOUT)
        pruned = False
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
            if not pruned and process.poll() is None and should_prune():
                process.terminate()
                pruned = True
    return process.returncode, pruned


def _report(job: Job, name: str, duration: str, status: int, pruned: bool) -> Outcome:
    """Print how a job ended, and return it."""
    if pruned and read_finished(job.folder) is None:  # else it was told to end too late
        print(f"{name}: ended after {duration}, below the median", flush=True)
        return Outcome(pruned=True)
    if not pruned and (status or not job.score_file.exists()):
        reason = _failure(job.log)
        print(f"{name}: failed after {duration}, status {status}: {reason}", flush=True)
        return Outcome(failure=reason)
    score = read_score(job.score_file)
    shown = "" if score is None else f", {score:.4f}"
    print(f"{name}: finished in {duration}{shown}", flush=True)
    return Outcome(score)


def _failure(log: Path) -> str:
    """Return the line of a log that tells why a job failed: its error, or else its last one."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
    return next((line for line in reversed(lines) if line.startswith("error:")), lines[-1])


def command(job: Job, checkpoint: Path | None) -> list[str]:
    """Return the command line of a job: what a user would type for it alone, and its ``job`` node."""
    script = Path(sys.argv[0])
    program = [str(script)] if script.name == "train.py" else ["-m", "captionlab.cli.hydra_main"]
    overrides = job.overrides
    if checkpoint is not None:
        overrides = [o for o in overrides if not o.startswith(WEIGHTS_OVERRIDES)]
        overrides.append(override_text("ckpt", str(checkpoint)))
    folder = override_text("hydra.run.dir", str(job.folder))
    settings = [*job_overrides(job.settings()), folder]
    return [sys.executable, *program, *as_arguments(), *overrides, *settings]


def environment(group: Sequence[str], threads: int | None) -> dict[str, str]:
    """Return a job's environment: its own GPUs, or its share of the cores."""
    # its log is a file, which the encoding of this terminal does not concern
    variables = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    if group:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(group)
    if threads is not None:
        variables["OMP_NUM_THREADS"] = str(threads)
    return variables
