"""Train: compose, check, build, fit, test, and leave a run folder that explains itself."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from captionlab.build import Sizes, build_captioner, build_data, keep_architectures
from captionlab.cli.command_lines import predict_command, train_command
from captionlab.cli.extract import check_features
from captionlab.cli.limits import require_limits
from captionlab.cli.logs import FILE_ONLY, quiet_lightning, write_log
from captionlab.config.check import check
from captionlab.config.explain import explain
from captionlab.config.instantiate import build_part
from captionlab.config.override_syntax import override_text
from captionlab.config.parts import require_parts
from captionlab.config.resolve import resolve, with_references
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.images.files import BrokenImage
from captionlab.data.summary import differences, origin, summarize
from captionlab.evaluation.report import (
    named_by_split,
    print_examples,
    print_scores,
    write_arrays,
    write_json,
    write_scored,
    write_text,
)
from captionlab.inference.checkpoints import Checkpoint, portable, read_checkpoint
from captionlab.inference.weights import build_with_weights, load_weights, without_downloads
from captionlab.metrics.references import PreparedReferences
from captionlab.objectives.base import Objective
from captionlab.runs.run_folder import set_scores_aside
from captionlab.sweeps.jobs import WEIGHTS_OVERRIDES
from captionlab.text.tokenizers import tokenizer_from_dict
from captionlab.training.build import (
    build_callbacks,
    build_module,
    build_trainer,
    check_devices,
    check_settings,
    require_optimizer,
    training_text,
)
from captionlab.training.callbacks.stopping import REQUEUE, Interrupt
from captionlab.training.loggers.dashboards import concluding
from captionlab.training.module import CaptioningModule
from captionlab.training.monitors import keep_last_as_best, require_monitors
from captionlab.training.rank_zero_first import Lead, together

log = logging.getLogger("captionlab")

# by what self-critical training weighs the words of captions
FREQUENCIES = "document_frequencies.npz"

# where weights first came from no longer matters to a resumed run
ORIGINS = {
    (f"model.{part}", key)
    for part in ("encoder", "decoder")
    for key in ("weights", "embeddings", "architecture")
}


def train(composed: DictConfig, overrides: Sequence[str]) -> float | None:
    """Run one experiment and return its best validation CIDEr (what a sweep maximizes).

    Raises:
        UserError: if anything the user chose cannot work; nothing is written then.
    """
    quiet_lightning()
    require_parts(composed)
    config = resolve(composed)
    config["output_dir"] = os.path.relpath(config["output_dir"])
    check_settings(config)
    check({k: v for k, v in config.items() if k != "hydra"})
    require_limits(config)
    check_devices(config["trainer"])
    pl.seed_everything(config["seed"], workers=True, verbose=False)

    start = starting_point(config)
    trainer = build_trainer(
        config,
        loggers=[
            build_part(node, f"logger.{name}")
            for name, node in (config["logger"] or {}).items()
            if node
        ],
        callbacks=build_callbacks(config),
    )
    with Lead(trainer) as lead:
        found = lead.told() or {}
        data: CaptionDataModule = build_data(config["data"])
        data.trainer = trainer
        if start is not None:
            data.tokenizer = start.tokenizer
        elif found:
            data.tokenizer = tokenizer_from_dict(found["tokenizer"])
        check_data(data)
        if start is not None:
            config["model"] = without_downloads(config["model"], start.config["model"])
            captioner = build_with_weights(config["model"], Sizes.of(data.tokenizer), start)
        else:
            captioner = build_captioner(config["model"], Sizes.of(data.tokenizer))
        keep_architectures(config["model"], captioner)
        check_features(config, data, captioner.encoder)
        written = {**with_references(composed, config), "model": config["model"]}
        read = summary_of(config, data)
        if config["ckpt"] and start is not None:
            same_data(start, read, config)
        carried = portable(written, data.tokenizer, overrides, read)
        module = build_module(config, data, captioner, carried)
        require_monitors(trainer, module, config)
        require_optimizer(module)
        epochs = config["trainer"]["max_epochs"]
        if epochs and epochs > 0:
            module.objective.require_epochs(epochs)
        module.start_scores = {} if start is None else start.scores
        counted = prepare(module.objective, data, start, found.get("references"))
        lead.tell({"tokenizer": data.tokenizer.to_dict(), "references": counted})

    output = Path(config["output_dir"])
    if trainer.is_global_zero:
        write_log(output / "train.log")
        if config["ckpt"] and start is not None:
            set_scores_aside(output, start.epochs, log.info)
        write_text(output / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(written)))
        write_text(output / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
        artifacts = module.objective.run_artifacts()
        if artifacts:
            write_arrays(output / FREQUENCIES, artifacts)
        introduce(config, data, module, trainer)
    if keep_last_as_best(trainer):
        log.info("validation none (trainer.limit_val_batches=0): best.ckpt is the last one")
    with concluding(trainer), together(trainer):
        fit(trainer, module, data, config, overrides)
        if config["test"]:
            test(trainer, module, data, config)
    module.metrics.close()
    score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    return None if score is None else float(score)


def prepare(
    objective: Objective,
    data: CaptionDataModule,
    start: Checkpoint | None,
    counted: PreparedReferences | None,
) -> PreparedReferences | None:
    """Prepare an objective for the run; return the training captions counted, where it needs them.

    ``counted``: by rank 0, where this is another one.

    Raises:
        UserError: if it has nothing to start from, or a reward cannot be had.
    """
    if start is None and objective.requires_pretrained:
        raise UserError(
            f"objective={objective.name} makes good captions likelier, and random weights write "
            "none: give init_from=CKPT, or train both stages in one run with objective=staged"
        )
    text = training_text(data, counted) if objective.needs_training_text else None
    objective.on_fit_start(text, {} if start is None else start.scores)
    return None if text is None else text.prepared


def starting_point(config: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint that the run resumes or starts from, if any.

    Raises:
        UserError: if both are given, or a resumed run's model or tokenizer is not the one it had.
    """
    if config["ckpt"] and config["init_from"]:
        raise UserError(
            "ckpt and init_from are both given: ckpt goes on with a run, init_from starts a new one."
        )
    path = config["ckpt"] or config["init_from"]
    if not path:
        return None
    checkpoint = read_checkpoint(path)
    if config["ckpt"]:
        require_resumable(checkpoint)
        for part in ("model", "data.tokenizer", "objective", "optimizer"):
            same_as_before(part, _at(checkpoint.config, part), _at(config, part), checkpoint)
        epochs = config["trainer"]["max_epochs"]
        done = epochs and 0 < epochs <= checkpoint.epochs
        # a run that was stopped before its scores were written only has to be tested
        results = Path(path).parent.parent / "results.json"
        if done and (epochs < checkpoint.epochs or results.exists() or not config["test"]):
            raise UserError(
                f"ckpt={path} was trained for {checkpoint.epochs} epochs already: "
                f"raise trainer.max_epochs above {epochs} to go on."
            )
    return checkpoint


def require_resumable(checkpoint: Checkpoint) -> None:
    """Refuse to resume from a checkpoint that holds weights alone.

    Raises:
        UserError: naming the one that can be resumed, where it lies beside.
    """
    if checkpoint.resumable:
        return
    last = checkpoint.path.with_name("last.ckpt")
    other = f"ckpt={last} resumes the run, " if last.exists() else ""
    raise UserError(
        f"ckpt={checkpoint.path} holds weights alone, without what training goes on with: "
        f"{other}init_from={checkpoint.path} starts a new one from these weights"
    )


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node[name]
    return node


def same_as_before(key: str, before: Any, now: Any, checkpoint: Checkpoint) -> None:
    """Refuse to resume with another setting than the run began with, naming the first difference."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            if (key, name) in ORIGINS:
                continue
            same_as_before(f"{key}.{name}", before.get(name), now.get(name), checkpoint)
    elif before != now:
        again = " ".join(shlex.quote(o) for o in checkpoint.overrides)
        raise UserError(
            f"ckpt={checkpoint.path} was trained with {key}={before}, this run has {key}={now}: "
            f"repeat its overrides ({again or 'none'}), or use init_from= for a new run."
        )


def summary_of(config: Mapping[str, Any], data: CaptionDataModule) -> dict[str, Any]:
    """Return what tells this run's data from other data: where they were read, a digest a split."""
    return {
        "name": data.name,
        "origin": origin(config["data"]),
        "splits": {split: summarize(data.records(split)) for split in data.fit_splits},
    }


def same_data(checkpoint: Checkpoint, read: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse to resume with other data than the run began with, unless that is asked for.

    Raises:
        UserError: naming what differs, and both ways to go on.
    """
    before = checkpoint.data
    if before:
        differs = differences(before, read)
    else:  # written before checkpoints told their data: where these were read must do
        old, new = (origin(c["data"]) for c in (checkpoint.config, config))
        differs = [] if old == new else ["they were read elsewhere"]
    if not differs:
        return
    told = f"{before.get('origin') or origin(checkpoint.config['data'])}, now {read['origin']}"
    what = f"ckpt={checkpoint.path} was trained on other data ({told}: {'; '.join(differs)})"
    if config["allow_other_data"]:
        log.warning("warning: %s; it goes on with these, as allow_other_data=true says", what)
        return
    raise UserError(
        f"{what}: give the data it had, or say init_from= for a new run from its weights, or "
        "allow_other_data=true to go on with these on purpose."
    )


def check_data(data: CaptionDataModule) -> None:
    """Read the splits that training needs.

    Raises:
        UserError: if one is missing or empty, validation has too few images to be scored, or a batch
            cannot be dealt to the processes.
    """
    data.require_even_batches()
    data.setup("fit")
    if "val" in data.fit_splits and len(data.records("val")) < 2:
        raise UserError(
            f"The split 'val' of {data.name} has one image: CIDEr weighs words by how few images' "
            "references use them, which one image cannot tell; give it at least 2."
        )


def introduce(
    config: Mapping[str, Any],
    data: CaptionDataModule,
    module: CaptioningModule,
    trainer: pl.Trainer,
) -> None:
    """Say what is about to be trained on what, and tell the loggers."""
    captions = [c for record in data.records("train") for c in record.captions]
    report = data.tokenizer.report(captions)
    trained = sum(p.numel() for p in module.captioner.parameters() if p.requires_grad)
    total = sum(p.numel() for p in module.captioner.parameters())
    log.info(
        "data       %s: %s training and %s validation images from %s",
        data.name,
        f"{len(data.records('train')):,}",
        f"{len(data.records('val')):,}" if "val" in data.fit_splits else "no",
        origin(config["data"]),
    )
    log.info("vocabulary %s", report)
    log.info(
        "model      %s: %s parameters, %s trained",
        config["model"]["name"],
        f"{total:,}",
        f"{trained:,}",
    )
    if trainer.world_size > 1:
        log.info(
            "batch      %s images: %s on each of %s processes",
            data.batch_size,
            data.device_batch_size,
            trainer.world_size,
        )
    log.info("run        %s", config["output_dir"])
    settings = {**config, "vocabulary": report.as_dict(), "parameters": total}
    for logger in trainer.loggers:
        logger.log_hyperparams(settings)


def fit(
    trainer: pl.Trainer,
    module: CaptioningModule,
    data: CaptionDataModule,
    config: Mapping[str, Any],
    overrides: Sequence[str],
) -> None:
    """Train; an interruption ends with a last.ckpt and the command that goes on from it.

    The exit status is 1 after Ctrl-C, and ``stopping.REQUEUE`` after a scheduler's signal.

    Raises:
        UserError: if data vanish or the run folder cannot be written any more, with that command.
    """
    last = Path(config["output_dir"]) / "checkpoints" / "last.ckpt"
    kept = [o for o in overrides if not o.startswith(WEIGHTS_OVERRIDES)]
    command = train_command([*kept, override_text("ckpt", str(last))])
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
        module.metrics.close()
        callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
        received = [c.received for c in callbacks if isinstance(c, Interrupt)]
        status = 1 if set(received) <= {None, signal.SIGINT} else REQUEUE
        if not trainer.is_global_zero:
            sys.exit(status)
        if not last.exists():
            log.info("interrupted before the first step; nothing is left to resume")
            sys.exit(status)
        log.info("interrupted after %s steps; go on with:\n  %s", trainer.global_step, command)
        sys.exit(status)


def test(
    trainer: pl.Trainer,
    module: CaptioningModule,
    data: CaptionDataModule,
    config: Mapping[str, Any],
) -> None:
    """Score the test splits with the best checkpoint; write results.json and captions.json."""
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")  # none without checkpoints
    if best and Path(best).exists():
        checkpoint = read_checkpoint(best)
        load_weights(module.captioner, checkpoint)
        module.checkpoint = (Path(best), checkpoint.epochs)
    splits = [s for s in data.source.splits if s.startswith("test")] or ["val"]
    if splits[0] not in data.source.splits:
        if trainer.is_global_zero:
            log.info("scores     none: %s has neither a split 'test' nor 'val'", data.name)
        return
    for split in reversed(splits):  # test comes last: its gallery stays
        data.evaluation_split = module.evaluation_split = split
        trainer.test(module, datamodule=data, verbose=False)
    if not trainer.is_global_zero:
        return
    main = splits[0]
    results = {split: module.results[split] for split in splits}
    output = Path(config["output_dir"])
    write_scored(output, module.scores[main], data.records(main))
    read = {split: summarize(data.records(split)) for split in splits}
    told = {"name": data.name, "origin": origin(config["data"]), "splits": read}
    write_json(output / "results.json", {**named_by_split(results), "data": told})
    present(output, module, data, results, config)


def present(
    output: Path,
    module: CaptioningModule,
    data: CaptionDataModule,
    results: Mapping[str, Mapping[str, float]],
    config: Mapping[str, Any],
) -> None:
    """Print the table of scores, some captions, and where everything lies."""
    console = Console(record=True)
    print_scores(results, console=console)
    split = next(iter(results))
    references = {record.image_id: record.captions for record in data.records(split)}
    print_examples(module.scores[split], references, config["examples"], console)
    kept = (output / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    checkpoint = next((path for path in kept if path.exists()), None)
    page = output / "gallery.html"
    lines = [f"look at    {shlex.quote(str(page))}"] if page.exists() else []
    if checkpoint is not None:
        lines.append(f"caption    {predict_command(checkpoint, config)}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    logging.getLogger(FILE_ONLY).info("\n%s", console.export_text())
