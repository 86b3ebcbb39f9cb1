"""The way in: Hydra over conf/, one sentence and status 2 for wrong input, no heavy import.

``python -m captionlab.commands.door`` is what ``captionlab train`` runs; ``train.py`` is the same
door in a checkout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from captionlab.configuration import config_dir, explain
from captionlab.errors import UserError
from captionlab.files import replacing

FULL_ERROR = "HYDRA_FULL_ERROR"
SCORE = "CAPTIONLAB_SCORE_FILE"  # where a job of a sweep leaves what it returns
# overrides that say where weights come from, not what is tried
ELSEWHERE = ("ckpt=", "init_from=")
Task = Callable[[DictConfig, list[str]], Any]


def debugging() -> bool:
    """Return whether the user wants tracebacks; takes ``--debug`` out of the command line."""
    if "--debug" in sys.argv:
        sys.argv.remove("--debug")
        os.environ[FULL_ERROR] = "1"
    return os.environ.get(FULL_ERROR, "0") not in ("", "0")


@contextmanager
def answers(debug: bool) -> Iterator[None]:
    """Turn wrong input into one sentence on stderr and exit status 2, unless debugging."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        sentence = explain(error)
        if debug or sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


def hydra_main(task: Task) -> Callable[[], None]:
    """Return a main function that composes conf/train.yaml and hands it to ``task(config, overrides)``."""

    def job(config: DictConfig) -> Any:
        if not debug:
            os.environ.pop(FULL_ERROR, None)  # children of this run must not inherit it
        run = HydraConfig.get()
        with answers(debug), tidy(Path(run.runtime.output_dir)):
            if run.mode == RunMode.MULTIRUN:
                refuse_several_processes(config)
            elif run.runtime.choices.get("sweep") and SCORE not in os.environ:
                raise UserError(
                    f"sweep={run.runtime.choices['sweep']} chooses settings of many runs: say "
                    "python train.py -m sweep=..., or leave it out for one run"
                )
            score = task(config, list(run.overrides.task))
            leave(score)
            return score

    # Hydra looks at these two to find out where it was started
    job.__module__, job.__name__ = "captionlab.commands.door", "train"
    debug = False

    def main() -> None:
        nonlocal debug
        debug = debugging()
        # OpenMP's threads wait by spinning, which costs another process on the same cores dearly;
        # a short spin is as fast alone. Read when torch is loaded, which is later.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        # with it Hydra raises its errors instead of printing several lines and exiting with 1
        os.environ[FULL_ERROR] = "1"
        with answers(debug):
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(
                job
            )()

    return main


def leave(score: float | None) -> None:
    """Write what a job of a sweep returns where the sweep looks for it; its first process alone."""
    path = os.environ.get(SCORE)
    if path and int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0:
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps({"score": score}))


@contextmanager
def tidy(run_dir: Path) -> Iterator[None]:
    """Remove the run folder again if nothing was written into it."""
    try:
        yield
    finally:
        for folder in (run_dir, run_dir.parent):
            try:
                folder.rmdir()
            except OSError:
                break


def refuse_several_processes(config: DictConfig) -> None:
    """Refuse a multirun whose jobs start several processes each.

    Lightning's processes re-run this script with its arguments; under ``-m`` each would start the
    sweep again, and the ranks would silently train different hyper-parameters.
    """
    devices = config.trainer.devices
    several = isinstance(devices, int) and devices not in (0, 1)
    if several or (not isinstance(devices, int | str) and len(devices) > 1):
        raise UserError(
            f"-m with trainer.devices={devices} would start the sweep again in every process: say "
            "hydra/launcher=process, which gives each job a process of its own"
        )


def _train(config: DictConfig, overrides: list[str]) -> Any:
    from captionlab.commands.train import train

    return train(config, overrides)


if __name__ == "__main__":
    hydra_main(_train)()
