"""The commands as functions: train, evaluate, inspect and compose, from a notebook or another program."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captionlab.config.check import check
from captionlab.config.compose import ComposedRun, compose_run
from captionlab.config.parts import require_parts
from captionlab.config.resolve import resolve
from captionlab.config.search_path import KEY, added, split_arguments
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError
from captionlab.runs.run import Run, read_run
from captionlab.runs.run_folder import claim_run_folder

if TYPE_CHECKING:
    from captionlab.data.inspection.result import Inspection

Folders = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None


def compose(overrides: Sequence[str] = (), *, config_dir: Folders = None) -> MutableConfig:
    """Return the configuration that ``train`` would use: plain values, checked, nothing built.

    Args:
        overrides: as on the command line: ``["model=attn_lstm", "optimizer.lr=1e-4"]``.
        config_dir: a folder of YAML files of your own, or several, as ``--config-dir``.

    Raises:
        UserError: for what a configuration cannot be, with the key, the value and the nearest one.
    """
    with _arguments("compose", overrides, config_dir) as rest:
        run = _compose(rest)
        require_parts(run.config)
        config = resolve(run.config)
        check(config)
    return config


def train(overrides: Sequence[str] = (), *, config_dir: Folders = None) -> Run:
    """Train a captioner in this process, as ``captionlab train OVERRIDES`` does, and return the run.

    One device is used unless ``trainer.devices`` says otherwise. Random numbers, loggers and signals
    of the program are afterwards what they were. Ctrl-C leaves a ``last.ckpt`` that
    ``ckpt=`` goes on from, and raises KeyboardInterrupt.

    Args:
        overrides: as on the command line: ``["model=attn_lstm", "optimizer.lr=1e-4"]``.
        config_dir: a folder of YAML files of your own, or several, as ``--config-dir``; modules
            beside it can be imported.

    Raises:
        UserError: if anything chosen cannot work, for a sweep, and for more than one process.
    """
    from captionlab.cli import train as command
    from captionlab.cli.in_process import in_process, use_one_process

    with _arguments("train", overrides, config_dir) as rest:
        run = _compose(rest)
        use_one_process(run.config, rest, shlex.join(["captionlab", "train", *rest]))
        with in_process(rest), _claimed(run, rest) as folder:
            command.train(run.config, [one for one in rest if not _is_of_hydra(one)])
    return read_run(folder)


def evaluate(
    checkpoint: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    out: str | os.PathLike[str] | None = None,
    others: Sequence[str | os.PathLike[str]] = (),
    trust: Sequence[str] = (),
    config_dir: Folders = None,
) -> dict[str, float]:
    """Score a checkpoint as ``captionlab evaluate`` does; return the scores (``test/cider`` ...).

    Files are written beside the checkpoints, or into ``out``.

    Args:
        checkpoint: its path.
        overrides: ``["split=val", "decoding=beam"]``.
        out: the folder for results.json, captions.json and gallery.html.
        others: checkpoints that write together with it, an ensemble.
        trust: classes, or modules of your own, that the checkpoint may name beside captionlab's.
        config_dir: a folder of YAML files of your own, or several, as ``--config-dir``.

    Raises:
        UserError: as ``captionlab evaluate`` refuses, and for more than one process.
    """
    from captionlab.cli import evaluate as command
    from captionlab.cli.in_process import in_process, use_one_process

    path = os.fspath(checkpoint)
    with _arguments("evaluate", overrides, config_dir) as rest:
        devices = compose_run([one for one in rest if one.startswith("trainer")]).config
        use_one_process(devices, rest, shlex.join(["captionlab", "evaluate", path, *rest]))
        chosen = [*rest, f"trainer.devices={devices.trainer.devices}"]
        with in_process(chosen):
            return command.evaluate(
                path,
                chosen,
                out=None if out is None else os.fspath(out),
                others=[os.fspath(other) for other in others],
                trust=trust,
            )


def inspect(
    overrides: Sequence[str],
    *,
    page: str | os.PathLike[str] | None = None,
    config_dir: Folders = None,
) -> Inspection:
    """Return what is in a data set, as ``captionlab inspect`` prints it; nothing is trained.

    A score of these data would be wrong where ``problems`` is not empty.

    Args:
        overrides: ``["data=auto", "data.root=photos"]``.
        page: where to write an HTML page with the samples.
        config_dir: a folder of YAML files of your own, or several, as ``--config-dir``.

    Raises:
        UserError: if the data cannot be read at all, or the page has no place.
    """
    from captionlab.cli.in_process import in_process
    from captionlab.cli.inspect import look

    with _arguments("inspect", overrides, config_dir) as rest, in_process(rest):
        return look(rest, None if page is None else os.fspath(page), option="page=")


@contextmanager
def _arguments(function: str, overrides: Sequence[str], config_dir: Folders) -> Iterator[list[str]]:
    """Give the overrides that are not about folders, while the YAML files of these are found."""
    if isinstance(overrides, str):
        raise UserError(
            f"{function}({overrides!r}): overrides are a list: {function}([{overrides!r}])"
        )
    given = [config_dir] if isinstance(config_dir, str | os.PathLike) else list(config_dir or ())
    folders, rest = split_arguments([str(one) for one in overrides])
    for one in rest:
        if one.startswith("-"):
            raise UserError(
                f"{function}: {one} is an option of the command line: captionlab {function} ...; "
                "here overrides are KEY=VALUE or GROUP=CHOICE"
            )
    with added([*given, *folders]):
        yield rest


def _compose(overrides: Sequence[str]) -> ComposedRun:
    for one in overrides:
        if _is_of_hydra(one) and not one.startswith("hydra.run.dir="):
            raise UserError(
                f"{one} has no effect on one run in this process; of Hydra's settings hydra.run.dir "
                f"and {KEY} have"
            )
    run = compose_run(overrides)
    if run.choices.get("sweep"):
        raise UserError(
            f"sweep={run.choices['sweep']} chooses settings of many runs: say in a terminal "
            f"{shlex.join(['captionlab', 'train', '-m', *overrides])}"
        )
    return run


def _is_of_hydra(override: str) -> bool:
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))


@contextmanager
def _claimed(run: ComposedRun, overrides: Sequence[str]) -> Iterator[Path]:
    from captionlab.cli.hydra_main import FOLDER_KEYS, require_folder

    for one in overrides:
        require_folder(one)

    def move(folder: str) -> None:
        run.config.output_dir = folder

    with claim_run_folder(
        Path(run.config.output_dir),
        is_chosen=any(one.lstrip("+").startswith(FOLDER_KEYS) for one in overrides),
        resumes=Path(str(run.config.ckpt)) if run.config.ckpt else None,
        is_job=False,
        on_change=move,
    ) as folder:
        yield folder
