"""Train: compose, check, build, fit, test, and leave a run folder that explains itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from captionlab.build import Sizes, build_captioner, build_data, keep_architectures
from captionlab.cli.auto_features import auto_features, whole_splits
from captionlab.cli.extract import check_features
from captionlab.cli.fit import fit, test
from captionlab.cli.limits import require_limits
from captionlab.cli.logs import quiet_lightning, write_log
from captionlab.cli.teachers import give_teachers
from captionlab.config.check import check
from captionlab.config.parts import require_parts
from captionlab.config.resolve import resolve, with_references
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.prompt_tokens import require_known_prompts
from captionlab.data.summary import origin
from captionlab.evaluation.report import write_arrays, write_text
from captionlab.inference.checkpoints import Checkpoint, portable
from captionlab.inference.weights import build_with_weights, without_downloads
from captionlab.metrics.references import PreparedReferences
from captionlab.models.captioner import Captioner
from captionlab.objectives.base import Objective
from captionlab.runs.run_folder import set_scores_aside
from captionlab.text.tokenizers import tokenizer_from_dict
from captionlab.training.build import (
    build_callbacks,
    build_loggers,
    build_module,
    build_trainer,
    check_devices,
    check_settings,
    require_optimizer,
    training_text,
)
from captionlab.training.index import fill_index, index_captions, learns, require_trainable
from captionlab.training.loggers.dashboards import concluding
from captionlab.training.module import CaptioningModule
from captionlab.training.monitors import keep_last_as_best, require_monitors
from captionlab.training.rank_zero_first import RankZeroFirst, exit_together
from captionlab.training.resume import data_summary, require_same_data, starting_point
from captionlab.training.retrieval import fill_training_index, index_training_captions, retrieve

log = logging.getLogger("captionlab")

# by what self-critical training weighs the words of captions
FREQUENCIES = "document_frequencies.npz"


class Prepared(NamedTuple):
    """What a run trains, built and checked before any file is written."""

    data: CaptionDataModule
    module: CaptioningModule
    written: MutableConfig  # the configuration as the run folder and checkpoints hold it
    references: PreparedReferences | None  # training captions counted for a reward
    may_store: bool  # features: all captioners of the run see the same of an image


def train(composed: DictConfig, overrides: Sequence[str]) -> float | None:
    """Run one experiment and return its best validation CIDEr (what a sweep maximizes).

    Raises:
        UserError: if anything the user chose cannot work; nothing is written then.
    """
    quiet_lightning()
    config = configure(composed)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    start = starting_point(config)
    trainer = build_trainer(
        config, loggers=build_loggers(config), callbacks=build_callbacks(config)
    )
    with RankZeroFirst(trainer) as ranks:
        prepared = prepare(composed, config, overrides, trainer, start, ranks.receive() or {})
        data, module = prepared.data, prepared.module
        tokenizer = data.tokenizer.to_dict()
        ranks.broadcast({"tokenizer": tokenizer, "references": prepared.references})
    if trainer.is_global_zero:
        begin_folder(config, prepared, overrides, start)
        introduce(config, data, module, trainer)
    if keep_last_as_best(trainer):
        log.info("validation none (trainer.limit_val_batches=0): best.ckpt is the last one")
    encoder = module.captioner.encoder if prepared.may_store else None
    device = trainer.strategy.root_device
    with (
        concluding(trainer),
        exit_together(trainer),
        auto_features(config, data, encoder, device) as read,
    ):
        read(data.fit_splits, whole_splits(trainer, data))
        fill_training_index(module.captioner, data, device)
        others = [split for split in data.fit_splits if split != "train"]
        retrieve(module.captioner, data, others, device)
        if learns(module.captioner):
            fit(trainer, module, data, config, overrides)
        else:
            fill_index(trainer, module, data, config["output_dir"])
        if config["test"]:
            test(trainer, module, data, config, read)
    module.evaluator.close()
    score = getattr(trainer.checkpoint_callback, "best_model_score", None)
    return None if score is None else float(score)


def configure(composed: DictConfig) -> MutableConfig:
    """Return the configuration of a run, resolved and checked.

    Raises:
        UserError: for the first value that cannot work.
    """
    require_parts(composed)
    config = resolve(composed)
    config["output_dir"] = os.path.relpath(config["output_dir"])
    check_settings(config)
    check({k: v for k, v in config.items() if k != "hydra"})
    require_limits(config)
    check_devices(config["trainer"])
    return config


def prepare(
    composed: DictConfig,
    config: MutableConfig,
    overrides: Sequence[str],
    trainer: pl.Trainer,
    start: Checkpoint | None,
    received: Config,
) -> Prepared:
    """Read the data, build the module, and let every part refuse what it cannot work with.

    What a model's parts are made of is written into ``config["model"]``. ``received``: tokenizer
    and counted references, where rank 0 has sent them.

    Raises:
        UserError: for data, a checkpoint or a part that does not fit the run.
    """
    data: CaptionDataModule = build_data(config["data"])
    data.trainer = trainer
    data.retrieves = bool(config["model"].get("retrieval"))
    if start is not None:
        data.tokenizer = start.tokenizer
    elif received:
        data.tokenizer = tokenizer_from_dict(received["tokenizer"])
    check_data(data)
    require_known_prompts(data.training_records(), data.tokenizer, data.name)
    captioner = prepare_captioner(config, data, start)
    written = {**with_references(composed, config), "model": config["model"]}
    summary = data_summary(config, data)
    if config["ckpt"] and start is not None:
        require_same_data(start, summary, config)
    carried = portable(written, data.tokenizer, overrides, summary)
    scores = {} if start is None else start.scores
    module = build_module(config, data, [captioner], carried, start_scores=scores)
    require_monitors(trainer, module, config)
    require_optimizer(module)
    epochs = config["trainer"]["max_epochs"]
    if epochs and epochs > 0:
        module.objective.require_epochs(epochs)
    may_store = give_teachers(module.objective, config, data, captioner)
    references = prepare_objective(module.objective, data, start, received.get("references"))
    return Prepared(data, module, written, references, may_store)


def prepare_captioner(
    config: MutableConfig, data: CaptionDataModule, start: Checkpoint | None
) -> Captioner:
    """Return the captioner, with the weights of ``start`` where there is one.

    Raises:
        UserError: if they do not fit, or its encoder does not fit the stored features.
    """
    sizes = Sizes.of(data.tokenizer)
    require_trainable(config, start)
    if start is None:
        captioner = build_captioner(config["model"], sizes)
        if not learns(captioner):
            index_captions(captioner, data)
    else:
        config["model"] = without_downloads(config["model"], start.config["model"])
        captioner = build_with_weights(config["model"], sizes, start)
    index_training_captions(captioner, data)
    keep_architectures(config["model"], captioner)
    check_features(config, data, captioner.encoder)
    return captioner


def prepare_objective(
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
    if data.tokenizer.controls and not objective.reads_prompts:
        raise UserError(
            f"objective={objective.name} learns from captions without anything before them, such as "
            "questions, styles, languages or captions of similar images: say data.prompts=false and "
            "model/retrieval=none, or objective=self_critical"
        )
    text = training_text(data, counted) if objective.needs_training_text else None
    objective.on_fit_start(text, {} if start is None else start.scores)
    return None if text is None else text.prepared


def begin_folder(
    config: Config,
    prepared: Prepared,
    overrides: Sequence[str],
    start: Checkpoint | None,
) -> None:
    """Write what is known of a run before its first step; a resumed one keeps its scores aside."""
    output = Path(config["output_dir"])
    write_log(output / "train.log")
    if config["ckpt"] and start is not None:
        set_scores_aside(output, start.epochs, log.info)
    write_text(output / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(prepared.written)))
    write_text(output / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    artifacts = prepared.module.objective.run_artifacts()
    if artifacts:
        write_arrays(output / FREQUENCIES, artifacts)


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
    config: Config,
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
