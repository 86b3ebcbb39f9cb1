"""Training's two stages, fit and test, and what they leave in the run folder."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytorch_lightning as pl
from rich.console import Console

from captionlab.cli.auto_features import Read, whole_splits
from captionlab.cli.command_lines import predict_command, resume_command
from captionlab.cli.logs import FILE_ONLY
from captionlab.config.explain import explain
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.images.files import BrokenImage
from captionlab.data.summary import origin, summarize
from captionlab.evaluation.report import (
    named_by_split,
    print_examples,
    print_scores,
    write_json,
    write_scored,
)
from captionlab.training.callbacks.stopping import REQUEUE, Interrupt
from captionlab.training.module import CaptioningModule
from captionlab.training.retrieval import retrieve

log = logging.getLogger("captionlab")


def fit(
    trainer: pl.Trainer,
    module: CaptioningModule,
    data: CaptionDataModule,
    config: Config,
    overrides: Sequence[str],
) -> None:
    """Train; an interruption ends with a last.ckpt and the command that goes on from it.

    The exit status is 1 after Ctrl-C, and ``stopping.REQUEUE`` after a scheduler's signal.

    Raises:
        UserError: if data vanish or the run folder cannot be written any more, with that command.
    """
    last = Path(config["output_dir"]) / "checkpoints" / "last.ckpt"
    command = resume_command(overrides, last)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=config["ckpt"], weights_only=True)
    except (OSError, BrokenImage) as error:
        sentence = explain(error)
        if sentence is None or not last.exists():
            raise
        raise UserError(f"{sentence}; then go on with: {command}") from error
    except UserError:
        raise
    except Exception:
        if trainer.is_global_zero and last.exists():
            log.error(
                "what was trained is in %s; once it is mended go on with:\n  %s", last, command
            )
        raise
    except SystemExit:  # what Lightning makes of Ctrl-C, once its callbacks have saved
        module.evaluator.close()
        _exit_interrupted(trainer, last, command)


def _exit_interrupted(trainer: pl.Trainer, last: Path, command: str) -> NoReturn:
    """End an interrupted run with the status of what interrupted it, and how to go on."""
    callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
    received = [c.received for c in callbacks if isinstance(c, Interrupt)]
    status = 1 if set(received) <= {None, signal.SIGINT} else REQUEUE
    if trainer.is_global_zero and last.exists():
        log.info("interrupted after %s steps; go on with:\n  %s", trainer.global_step, command)
    elif trainer.is_global_zero:
        log.info("interrupted before the first step; nothing is left to resume")
    sys.exit(status)


def test(
    trainer: pl.Trainer,
    module: CaptioningModule,
    data: CaptionDataModule,
    config: Config,
    read_splits: Read,
) -> None:
    """Score the test splits with the best checkpoint; write results.json and captions.json.

    ``read_splits`` is of ``auto_features``: what is tested is stored too, for the next run.
    """
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")  # none without checkpoints
    if best and Path(best).exists():
        module.load_checkpoint(best)
    splits = [s for s in data.source.splits if s.startswith("test")] or ["val"]
    if splits[0] not in data.source.splits:
        if trainer.is_global_zero:
            log.info("scores     none: %s has neither a split 'test' nor 'val'", data.name)
        return
    read_splits(splits, whole_splits(trainer, data))
    retrieve(module.captioner, data, splits, trainer.strategy.root_device)
    for split in reversed(splits):  # test comes last: its gallery stays
        data.evaluation_split = split
        trainer.test(module, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        return
    main = splits[0]
    results = {split: module.evaluator.results[split] for split in splits}
    output = Path(config["output_dir"])
    write_scored(output, module.evaluator.scores[main], data.scored_records(main))
    summaries = {split: summarize(data.records(split)) for split in splits}
    read = {"name": data.name, "origin": origin(config["data"]), "splits": summaries}
    write_json(output / "results.json", {**named_by_split(results), "data": read})
    present(output, module, data, results, config)


def present(
    output: Path,
    module: CaptioningModule,
    data: CaptionDataModule,
    results: Mapping[str, Mapping[str, float]],
    config: Config,
) -> None:
    """Print the table of scores, some captions, and where everything lies."""
    console = Console(record=True)
    print_scores(results, console=console)
    split = next(iter(results))
    references = {record.image_id: record.captions for record in data.scored_records(split)}
    print_examples(module.evaluator.scores[split], references, config["examples"], console)
    kept = (output / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    checkpoint = next((path for path in kept if path.exists()), None)
    page = output / "gallery.html"
    lines = [f"look at    {shlex.quote(str(page))}"] if page.exists() else []
    if checkpoint is not None:
        lines.append(f"caption    {predict_command(checkpoint, config)}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    logging.getLogger(FILE_ONLY).info("\n%s", console.export_text())
