"""Evaluate: score a checkpoint on any split of any data set, with any decoding."""

from __future__ import annotations

import copy
import functools
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from captionlab.build import build_data
from captionlab.cli.auto_features import Read, auto_features
from captionlab.cli.extract import check_features
from captionlab.cli.logs import quiet_lightning
from captionlab.cli.scored_folder import write_scored_folder
from captionlab.config.check import check
from captionlab.config.compose import compose
from captionlab.config.override import override
from captionlab.core.config_types import Config, MutableConfig
from captionlab.core.errors import Notice, UserError, did_you_mean
from captionlab.core.files import require_folder_place
from captionlab.core.registry import require_allowed
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.summary import LOADING, origin, source_of, summarize
from captionlab.evaluation.evaluator import Evaluator
from captionlab.evaluation.examples import collect_examples, example_ids
from captionlab.evaluation.gallery import write_gallery
from captionlab.evaluation.provenance import (
    describe_checkpoint,
    describe_data,
    describe_decoding,
)
from captionlab.evaluation.report import named_by_split
from captionlab.inference.bounds import require_decoding
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.loaded import require_alike
from captionlab.inference.precision import TRAINER_PRECISION, Precision, note_slow_bfloat16
from captionlab.inference.weights import captioner_of
from captionlab.runs.evaluation_folder import claim, folder_name, relative, require_free
from captionlab.training.build import (
    build_module,
    build_trainer,
    check_devices,
)
from captionlab.training.module import CaptioningModule
from captionlab.training.rank_zero_first import exit_together
from captionlab.training.retrieval import retrieve

GROUPS = ("data", "decoding", "trainer")
OPTIONS = ("meteor", "samples")
GALLERY_IMAGES = 200
SAMPLES = 5  # for checkpoints that are older than this setting
# what of a run's data is for training alone
TRAINING_DATA = {"augment": None, "extra": None, "captions_per_image": sys.maxsize}
# of a trainer, what an evaluation asks
TRAINER = (
    *("accelerator", "devices", "num_nodes", "strategy", "precision", "deterministic", "benchmark"),
    *("limit_test_batches", "use_distributed_sampler", "plugins", "inference_mode"),
)


def evaluate(
    checkpoint: str,
    overrides: Sequence[str],
    *,
    out: str | None = None,
    others: Sequence[str] = (),
    trust: Sequence[str] = (),
    precision: Precision | None = None,
) -> dict[str, float]:
    """Score a checkpoint, print the table, write results.json and captions.json; return the scores.

    They are named by their split (``test/cider``); other ranks than the first have none.

    Args:
        checkpoint: its path.
        overrides: ``split=val``, ``data=...``, ``data.root=...``, ``decoding=beam`` and the like.
        out: the folder to write; by default one named after data and split beside the checkpoints.
            Results of other settings are never written over.
        others: more checkpoints, which write together with it (an ensemble).
        trust: classes, or packages of your own, that they may name beside captionlab's.
        precision: stands for ``trainer.precision=...`` among the overrides; None for none.
    """
    quiet_lightning()
    if out:
        require_folder_place(out, "--out ")
    paths = (checkpoint, *others)
    stored = [read_checkpoint(path) for path in paths]
    for other in stored[1:]:
        require_alike(stored[0], other)
    split, rest = take(overrides, "split", "test")
    rest += [] if precision is None else [f"trainer.precision={TRAINER_PRECISION[precision]}"]
    config = configure(stored[0], rest, trust)
    check_devices(config["trainer"])
    data = open_data(config["data"], stored[0], split)
    place = Path(checkpoint).resolve()
    run = place.parent if place.is_dir() else place.parent.parent
    ensemble = "ensemble" if others else ""
    folder = Path(out) if out else run / folder_name(str(data.name), split, ensemble)
    settings = settings_of(config, data, split, [relative(path, folder) for path in paths])
    if out:
        require_free(folder, settings)
    module = build_evaluation(config, data, stored, trust)
    module.evaluator.keep_attention(example_ids(data.dataset(split), GALLERY_IMAGES))
    trainer = build_trainer({**config, "output_dir": "."}, loggers=[], callbacks=[])
    if trainer.is_global_zero:
        if precision == "bf16":
            note_slow_bfloat16(trainer.strategy.root_device.type)
        images, place = len(data.records(split)), settings["data"]["origin"]
        print(f"data       {data.name} {split}: {images:,} images from {place}")
        note_unasked(data, split, checkpoint)
    with exit_together(trainer), stored_for(config, data, module, stored) as read:
        read([split], ())
        retrieve(module.captioner, data, [split], trainer.strategy.root_device)
        trainer.test(module, datamodule=data, verbose=False)
    module.evaluator.close()
    if not trainer.is_global_zero:
        return {}
    if out:
        require_free(folder, settings)  # another evaluation may have written there meanwhile
    else:
        folder = claim(folder, settings)
    write_evaluation(folder, module.evaluator, data, settings, stored)
    return named_by_split({split: module.evaluator.results[split]})


def stored_for(
    config: Config, data: CaptionDataModule, module: CaptioningModule, stored: Sequence[Checkpoint]
) -> AbstractContextManager[Read]:
    """Return the features that training has stored; none for an ensemble, which has many encoders."""
    encoder = module.captioner.encoder if len(stored) == 1 else None
    return auto_features({**config, "model": stored[0].config["model"]}, data, encoder)


def write_evaluation(
    folder: Path,
    evaluator: Evaluator,
    data: CaptionDataModule,
    settings: Config,
    stored: Sequence[Checkpoint],
) -> None:
    """Write scores, captions and the page of a split into a folder, and print them."""
    split = settings["data"]["split"]
    write_scored_folder(
        folder,
        evaluator.scores[split],
        evaluator.results[split],
        data.scored_records(split),
        settings,
        lambda path: write_page(path, evaluator, data, settings, stored),
    )


def open_data(node: Config, stored: Checkpoint, split: str) -> CaptionDataModule:
    """Return the data of an evaluation, in the tokens of its checkpoint."""
    data: CaptionDataModule = build_data(node, tokenizer=lambda captions: stored.tokenizer)
    data.tokenizer = stored.tokenizer
    data.evaluation_split = split
    return data


def note_unasked(data: CaptionDataModule, split: str, checkpoint: str) -> None:
    """Say it where captions were learned behind prompts that the data do not give."""
    prompts = (prompt for record in data.scored_records(split) for prompt in record.prompts)
    for what in data.tokenizer.unasked(prompts):
        text = f"{checkpoint} was trained with {what}, and {data.name} {split} has none"
        warnings.warn(f"{text}: what it writes behind nothing is scored", Notice, stacklevel=2)


def settings_of(
    config: Config, data: CaptionDataModule, split: str, checkpoints: list[str]
) -> MutableConfig:
    """Return what distinguishes this evaluation from others: results.json holds it."""
    read = {"name": data.name, "origin": origin(config["data"]), "split": split}
    return {
        "checkpoints": checkpoints,
        "data": {**read, **summarize(data.records(split))},
        "read": {k: v for k, v in config["data"].items() if k not in (*LOADING, *TRAINING_DATA)},
        **{name: config[name] for name in ("decoding", *OPTIONS)},
        "precision": config["trainer"]["precision"],
        "limit_test_batches": config["trainer"].get("limit_test_batches"),
    }


def build_evaluation(
    config: Config,
    data: CaptionDataModule,
    stored: Sequence[Checkpoint],
    trust: Sequence[str],
) -> CaptioningModule:
    """Return the module that scores the checkpoints' captioners, as an ensemble where several.

    Raises:
        UserError: for a checkpoint that is not allowed, or whose encoder does not fit the features.
    """
    captioners = [captioner_of(each, trust) for each in stored]
    for each, captioner in zip(stored, captioners, strict=True):
        check_features({**config, "model": each.config["model"]}, data, captioner.encoder)
    return build_module(config, data, captioners, {})


def write_page(
    path: Path,
    evaluator: Evaluator,
    data: CaptionDataModule,
    settings: Config,
    stored: Sequence[Checkpoint],
) -> None:
    """Write a gallery of examples of the split, which says what they are of."""
    split = settings["data"]["split"]
    scores = evaluator.scores[split]
    dataset = data.dataset(split)
    examples = collect_examples(dataset, scores, GALLERY_IMAGES, evaluator.traces)
    first, *others = stored
    title = f"{data.name} {split}, {first.path.name} after epoch {first.epochs}"
    title += f", with {len(others)} more" if others else ""
    features = None if dataset.features is None else dataset.features.path
    scored = len(scores.captions)
    facts = {
        "data": describe_data(settings["data"], split, scored=scored, features=features),
        "checkpoint": describe_checkpoint([(each.path, each.epochs) for each in stored]),
        "decoding": describe_decoding(evaluator.decoding),
    }
    write_gallery(path, examples, title, scores.corpus, facts)


def configure(stored: Checkpoint, overrides: Sequence[str], trust: Sequence[str]) -> MutableConfig:
    """Return the configuration of an evaluation, resolved and checked.

    Model, data, decoding and precision are the checkpoint's; objective, optimizer and devices were
    its training's.

    Raises:
        UserError: for an override that cannot be read, or would have no effect here, and for a
            checkpoint that names what it must not.
    """
    for text in overrides:
        _require_effect(text)
    base = copy.deepcopy(_defaults())
    trainer = stored.config.get("trainer")
    precision = trainer.get("precision") if isinstance(trainer, dict) else None
    base["trainer"]["precision"] = precision or "32-true"
    composed = {"samples": SAMPLES, "meteor": True, **stored.composed, **base, "scheduler": None}
    composed["data"] = {**composed["data"], **TRAINING_DATA}
    config = override(composed, overrides, GROUPS, OPTIONS)
    config["data"] |= TRAINING_DATA  # data=NAME brings its own
    config["data"].pop("tokenizer", None)  # the checkpoint's own is used
    if "_target_" not in source_of(config["data"]):
        raise UserError(
            f"data.source={config['data'].get('source')!r:.60} names no reader: say data=NAME data.root=PATH"
        )
    require_allowed({"data": config["data"]}, trust, {"data": stored.config["data"]})
    require_decoding(config["decoding"], stored, trust)
    check({name: config[name] for name in ("objective", "optimizer", *GROUPS)})
    _require_language(stored, config)
    return config


@functools.cache
def _defaults() -> MutableConfig:
    """Return the groups that an evaluation needs and takes from no file, with their references."""
    fresh: Any = OmegaConf.to_container(compose(["output_dir=unused"]), resolve=False)
    return {name: fresh[name] for name in ("trainer", "objective", "optimizer")}


def _require_effect(text: str) -> None:
    """Raise UserError for an override of something that no evaluation reads."""
    key = text.partition("=")[0].lstrip("+").replace("/", ".")
    group, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if group == "data" and name in (*TRAINING_DATA, "tokenizer"):
        own = "the checkpoint brings its tokenizer" if name == "tokenizer" else "it is of training"
        raise UserError(f"{text}: {key} has no effect on an evaluation ({own}); leave it out")
    if group == "trainer" and name and name not in TRAINER:
        raise UserError(
            f"{text}: {key} has no effect on an evaluation; {did_you_mean(name, TRAINER)}"
        )


def _require_language(stored: Checkpoint, config: Config) -> None:
    """Raise UserError where captions of one language would be scored by another's references."""
    before = source_of(stored.config["data"]).get("language")
    now = source_of(config["data"]).get("language")
    if before and now and before != now:
        raise UserError(
            f"the data are in language={now}, and {stored.path} was trained on language={before}: "
            "its captions cannot be compared with these references"
        )


def take(overrides: Sequence[str], key: str, default: str) -> tuple[str, list[str]]:
    """Return the value of ``key=value`` among overrides, and the others."""
    values = [o.partition("=")[2] for o in overrides if o.startswith(f"{key}=")]
    return (values or [default])[-1], [o for o in overrides if not o.startswith(f"{key}=")]
