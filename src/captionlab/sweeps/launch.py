"""Jobs as processes, several at a time: those of a multirun, and those of a study."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from captionlab.config.compose import compose
from captionlab.config.override_syntax import override_text
from captionlab.sweeps.devices import DevicePool, num_devices
from captionlab.sweeps.jobs import Job, distinguishing_overrides, require_same
from captionlab.sweeps.processes import Outcome, run_job


def launch(
    planned: Sequence[tuple[int, list[str], DictConfig]], at_a_time: int | None
) -> list[JobReturn]:
    """Run the jobs (number, overrides, composed configuration), and return what Hydra's sweepers read.

    Raises:
        UserError: if a folder holds another job, or the machine lacks the devices of one.
    """
    common = set.intersection(*(set(overrides) for _, overrides, _ in planned))
    jobs = [
        Job(
            number,
            overrides,
            job_folder(config),
            num_devices(config),
            distinguishing_overrides(overrides, common),
        )
        for number, overrides, config in planned
    ]
    outcomes = run_jobs(jobs, at_a_time)
    _summarize(jobs, outcomes)
    return [
        job_return(overrides, config, outcome)
        for (_, overrides, config), outcome in zip(planned, outcomes, strict=True)
    ]


def run_jobs(
    jobs: Sequence[Job], at_a_time: int | None, threads: int | None = None
) -> list[Outcome]:
    """Run jobs, as many at a time as the machine has devices for, and return how each ended.

    ``threads``: OpenMP's threads a process, where that is not to follow from ``at_a_time``.

    Raises:
        UserError: if a folder holds another job, or the machine lacks the devices of one.
    """
    for job in jobs:
        require_same(job.folder, job.overrides)
    devices = DevicePool.of_machine(jobs, at_a_time, threads)
    num_jobs = jobs[-1].number + 1
    with ThreadPoolExecutor(devices.count) as pool:
        try:
            return list(pool.map(lambda job: run_job(job, devices, num_jobs), jobs))
        except KeyboardInterrupt:
            # the terminal told the jobs too: they save and leave
            pool.shutdown(cancel_futures=True)
            raise


def train_all(
    runs: Mapping[Path, Sequence[str]], at_a_time: int | None = None, threads: int | None = None
) -> None:
    """Train the runs of a study (folder: overrides), each unless it is finished.

    Raises:
        UserError: as ``run_jobs``, and for overrides that cannot be composed.
        SystemExit: if a run failed, once the others have ended.
    """
    # those that an earlier version trained left no score of a job
    jobs = plan(
        {f: overrides for f, overrides in runs.items() if not (f / "results.json").exists()}
    )
    if jobs and any(one.failure is not None for one in run_jobs(jobs, at_a_time, threads)):
        sys.exit("a run failed; the same command goes on")


def plan(runs: Mapping[Path, Sequence[str]]) -> list[Job]:
    """Return the runs of a study (folder: overrides) as jobs named by their folders.

    Raises:
        UserError: for overrides that cannot be composed.
    """
    return [
        Job(
            number,
            list(overrides),
            folder,
            num_devices(compose([*overrides, "output_dir=unused"])),
            folder.name,
        )
        for number, (folder, overrides) in enumerate(runs.items())
    ]


def job_folder(config: DictConfig) -> Path:
    """Return the folder of a job of a multirun."""
    return Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)


def job_return(overrides: Sequence[str], config: DictConfig, outcome: Outcome) -> JobReturn:
    """Return an outcome as Hydra's sweepers read it."""
    result = JobReturn(overrides=overrides, cfg=config, task_name="train")
    if outcome.failure is None:
        result.status, result.return_value = JobStatus.COMPLETED, outcome.score
    else:
        # asked for the value of a failed job, Hydra raises what stands there
        result.status, result.return_value = JobStatus.FAILED, SystemExit(1)
    return result


def _summarize(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Print how many jobs are finished, what to compare, and how failed ones are tried again."""
    failed = [job for job, one in zip(jobs, outcomes, strict=True) if one.failure is not None]
    done = f"{len(jobs) - len(failed)} of {len(jobs)} jobs are finished"
    folder = str(jobs[0].folder.parent)
    compare = f"captionlab compare {shlex.quote(folder)}"
    print(f"{done}; {compare}" if len(failed) < len(jobs) else done, flush=True)
    if failed:
        place = shlex.quote(override_text("hydra.sweep.dir", folder))
        again = f"the same command with {place} tries them again"
        print(f"failed: {', '.join(str(job.log) for job in failed)}; {again}", file=sys.stderr)
