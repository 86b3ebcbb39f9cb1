"""The way in: Hydra over conf/, one sentence and status 2 for wrong input, no heavy import.

``python -m captionlab.cli.hydra_main`` is what ``captionlab train`` runs; ``train.py`` is the same
in a checkout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from captionlab.cli.ending import exit_with_own_status
from captionlab.cli.mistakes import FULL_ERROR, debugging, explained_errors
from captionlab.cli.processes import prepare_process
from captionlab.cli.streams import require_written
from captionlab.config.compose import config_dir, groups
from captionlab.config.override_syntax import as_readable_arguments, override_text
from captionlab.config.search_path import added, as_arguments, split_arguments
from captionlab.core.errors import UserError
from captionlab.core.files import replacing, require_folder_place
from captionlab.runs.run_folder import claim_run_folder, new_folder
from captionlab.sweeps.jobs import (
    FinishedJob,
    job_settings,
    last_checkpoint,
    read_finished,
    require_same,
    without_job_settings,
)

FOLDER_KEYS = ("hydra.run.dir=", "output_dir=")  # by which a user names a run's folder
CHOSEN_FOLDERS = (*FOLDER_KEYS, "hydra.sweep.dir=")
# whose jobs are processes of their own
PROCESS_LAUNCHERS = {
    "hydra_plugins.captionlab_launcher.process.ProcessLauncher",
    "hydra_plugins.captionlab_launcher.optuna.TpeSweeper",
}
Task = Callable[[DictConfig, list[str]], float | None]  # returns what a sweep maximizes


def hydra_main(task: Task) -> Callable[[], None]:
    """Return a main function that composes conf/train.yaml and hands it to ``task(config, overrides)``."""
    debug = False

    def job(config: DictConfig) -> float | None:
        return run_job(task, config, debug)

    # Hydra looks at these two to find out where it was started
    job.__module__, job.__name__ = "captionlab.cli.hydra_main", "train"

    def main() -> None:
        nonlocal debug
        debug = debugging()
        prepare_process()
        # with it Hydra raises its errors instead of printing several lines and exiting with 1
        os.environ[FULL_ERROR] = "1"
        with exit_with_own_status(), explained_errors(debug):
            folders, arguments = split_arguments(sys.argv[1:])
            # mistakes are explained while the choices of these folders are known
            with added(folders), explained_errors(debug):
                # processes of this run are started by these arguments again
                sys.argv[1:] = as_arguments() + as_readable_arguments(arguments, groups())
                for argument in arguments:
                    require_folder(argument)
                hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(
                    job
                )()
                require_written()

    return main


def run_job(task: Task, config: DictConfig, debug: bool) -> float | None:
    """Return what ``task`` gives for a composed configuration: a run alone, or a job of a multirun."""
    if not debug:
        os.environ.pop(FULL_ERROR, None)  # children of this run must not inherit it
    run = HydraConfig.get()
    overrides = without_job_settings(run.overrides.task)
    # known already, unless a launcher of Hydra has brought the job into another process
    folders = added_folders(run)
    with added(folders), explained_errors(debug), run_folder(config, run) as folder:
        if run.mode == RunMode.MULTIRUN:
            refuse_wrong_mix(config, run)
            finished = begin(config, folder, overrides)
            if finished is not None:
                return finished.score
        elif run.runtime.choices.get("sweep") and config.job.score_file is None:
            raise UserError(
                f"sweep={run.runtime.choices['sweep']} chooses settings of many runs: say "
                "python train.py -m sweep=..., or leave it out for one run"
            )
        score = task(config, overrides)
        leave_score(score, config.job.score_file)
        return score


def added_folders(run: HydraConf) -> list[str]:
    """Return the folders of YAML files that a run's configuration was composed with beside our own."""
    return [
        source.path
        for source in run.runtime.config_sources
        if source.schema == "file" and "command-line" in source.provider
    ]


def require_folder(argument: str) -> None:
    """Check the folder that an argument chooses, if it does: Hydra makes it without a look.

    Raises:
        UserError: if it is an address, or a file is in its way.
    """
    key = next((key for key in CHOSEN_FOLDERS if argument.startswith(key)), None)
    if key and "${" not in argument:
        require_folder_place(argument.removeprefix(key).strip("'\""), key)


def begin(config: DictConfig, folder: Path, overrides: list[str]) -> FinishedJob | None:
    """Begin a job of a sweep in a process that is not its own, or let it go on where it stopped.

    Returns what it left, where it was finished before.

    Raises:
        UserError: if the folder holds a run of other overrides.
    """
    typed = [one for one in sys.argv[1:] if "=" in one and not one.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(typed)
    swept = {one.key_or_group for one in parsed if one.is_sweep_override()}
    title = " ".join([o for o in overrides if o.partition("=")[0] in swept] or overrides)
    OmegaConf.update(config, "job", job_settings(folder, title))
    require_same(folder, overrides)
    finished = read_finished(folder)
    if finished is not None:
        print(f"{title}: finished before", flush=True)
    elif (last := last_checkpoint(folder)) is not None:
        print(f"{title}: goes on", flush=True)
        config.ckpt, config.init_from = str(last), None
    return finished


def leave_score(score: float | None, path: str | None) -> None:
    """Write what a job of a sweep returns where the sweep looks for it; its first process alone."""
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    if path is not None and int(next((rank for rank in ranks if rank), "0")) == 0:
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps({"score": score}))


def run_folder(config: DictConfig, run: HydraConf) -> AbstractContextManager[Path]:
    """Claim the folder of a run, and write its name into the configuration."""
    chosen = (*run.overrides.hydra, *run.overrides.task)
    return claim_run_folder(
        Path(config.output_dir),
        is_chosen=any(one.lstrip("+").startswith(FOLDER_KEYS) for one in chosen),
        resumes=Path(str(config.ckpt)) if config.get("ckpt") else None,
        is_job=run.mode == RunMode.MULTIRUN or config.job.score_file is not None,
        on_change=partial(OmegaConf.update, config, "output_dir"),
    )


def refuse_wrong_mix(config: DictConfig, hydra_config: Any) -> None:
    """Refuse a multirun whose jobs start several processes each, unless SLURM starts them.

    Lightning's processes re-run this script with its arguments; under ``-m`` each would start the
    sweep again, and the ranks would silently train different hyper-parameters.

    Raises:
        UserError: for such a mix, with the launcher that can.
    """
    devices, nodes = config.trainer.devices, config.trainer.num_nodes
    launcher, sweeper = hydra_config.launcher, hydra_config.sweeper
    if {launcher._target_, sweeper._target_} & PROCESS_LAUNCHERS:
        return
    if launcher._target_.endswith("SlurmLauncher"):
        tasks = (launcher.tasks_per_node, launcher.nodes)
        if tasks != (1 if devices == "auto" else devices, nodes):
            raise UserError(
                f"trainer.devices={devices} on trainer.num_nodes={nodes} needs as many tasks, and "
                f"hydra.launcher has tasks_per_node={tasks[0]} on nodes={tasks[1]}: say "
                "sweep=slurm, which asks for one task a device"
            )
        return
    if num_processes(devices, str(config.trainer.accelerator)) * nodes > 1:
        raise UserError(
            f"-m with trainer.devices={devices} would start the sweep again in every process: say "
            "hydra/launcher=process, which gives each job a process of its own, sweep=slurm on a "
            "cluster, or trainer.devices=1"
        )


def num_processes(devices: int | str | Sequence[int], accelerator: str) -> int:
    """Return how many processes Lightning starts on a node."""
    if devices in ("auto", -1, "-1"):
        if accelerator == "cpu":
            return 1
        import torch

        return torch.cuda.device_count()
    if isinstance(devices, str) and "," in devices:
        return len(devices.split(","))
    return int(devices) if isinstance(devices, int | str) else len(devices)


class CheckMix(Callback):
    """Hydra's callback that refuses a wrong mix before a launcher has queued anything."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at what all jobs share; what only some have is looked at when they begin."""
        with explained_errors(False):
            refuse_wrong_mix(config, config.hydra)
            claim_sweep(config.hydra)


def claim_sweep(hydra_config: DictConfig) -> None:
    """Give a sweep a folder of its own, unless the user named one to go on with."""
    if any(one.startswith("hydra.sweep.dir=") for one in hydra_config.overrides.hydra):
        return
    folder = new_folder(Path(str(hydra_config.sweep.dir)))
    with read_write(hydra_config):
        hydra_config.sweep.dir = str(folder)
        # from these every job is composed anew
        hydra_config.overrides.hydra.append(override_text("hydra.sweep.dir", str(folder)))


def _train(config: DictConfig, overrides: list[str]) -> float | None:
    from captionlab.cli.train import train

    return train(config, overrides)


if __name__ == "__main__":
    hydra_main(_train)()
