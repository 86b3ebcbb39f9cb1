"""The parts of a run put together: shared by train and evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from captionlab.config.check import describe_type
from captionlab.config.instantiate import build_part
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError, first_line
from captionlab.data.datamodule import CaptionDataModule
from captionlab.evaluation.evaluator import Evaluator
from captionlab.evaluation.groups import groups_of, meteor_processes
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.metrics.own_scores import OwnScores
from captionlab.metrics.references import PreparedReferences
from captionlab.metrics.wordnet import noun_similarity
from captionlab.models.captioner import Captioner
from captionlab.objectives.policy_gradient.rewards import TrainingText
from captionlab.text.scoring import scoring_tokenizer
from captionlab.training.callbacks.stopping import FinalValidation, WholeCheckpoints
from captionlab.training.module import CaptioningModule

SETTINGS: dict[str, type | UnionType] = {
    "seed": int,
    "ckpt": str | None,
    "init_from": str | None,
    "allow_other_data": bool,
    "meteor": bool,
    "samples": int,
    "test": bool,
    "examples": int,
}


def check_settings(config: Config) -> None:
    """Check the values that stand outside every group.

    Raises:
        UserError: if one has the wrong type.
    """
    for key, hint in SETTINGS.items():
        value = config[key]
        wrong = isinstance(value, bool) and hint is int
        if wrong or not isinstance(value, hint):
            raise UserError(f"{key}={value!r} is not {describe_type(hint)}.")


def check_devices(trainer: Config) -> None:
    """Check that the machine has the devices that are asked for.

    Raises:
        UserError: if there are fewer.
    """
    accelerator, devices = trainer["accelerator"], trainer["devices"]
    gpus = torch.cuda.device_count()
    num_devices = (
        devices if isinstance(devices, int) else len(devices) if isinstance(devices, list) else 1
    )
    if accelerator == "cpu":
        return
    if (isinstance(devices, int) and devices < -1) or devices == 0:
        raise UserError(
            f"trainer.devices={devices} must be a number of devices, -1 for all, or auto."
        )
    if accelerator in ("gpu", "cuda") and gpus == 0:
        raise UserError(
            f"trainer.accelerator={accelerator}: this machine has no GPU that torch can use; "
            "say trainer.accelerator=cpu or leave it at auto."
        )
    if (
        accelerator == "auto"
        and gpus == 0
        and num_devices > 1
        and not torch.backends.mps.is_available()
    ):
        raise UserError(
            f"trainer.devices={devices}: this machine has no GPU that torch can use; "
            f"say trainer.devices=1, or trainer.accelerator=cpu for {num_devices} processes on the CPU."
        )
    if gpus and num_devices > gpus:
        raise UserError(
            f"trainer.devices={devices}: this machine has {gpus} GPU{'s' if gpus > 1 else ''}; "
            f"say trainer.devices={gpus} or trainer.devices=auto."
        )


def build_metrics(config: Config, data: CaptionDataModule) -> CaptionMetrics:
    """Return the scores of the data's language, and of each language and style that is asked for.

    METEOR's processes start with the first batch.
    """
    language, tokenizer = data.source.language, data.tokenizer
    processes = meteor_processes((language, *tokenizer.languages) if config["meteor"] else ())
    groups = groups_of(
        tokenizer.languages,
        tokenizer.styles,
        language=language,
        prompt=data.prompt,
        meteor=processes,
    )
    return CaptionMetrics(
        scoring_tokenizer(language),
        meteor=processes.get(language),
        truth=data.truth,
        known=KnownCaptions(data) if "train" in data.source.splits else None,
        groups=groups,
        answers=tokenizer.answers,
        asks=lambda image_id: bool(data.prompt(image_id).question),
        similarity=noun_similarity(language) if tokenizer.answers else None,
        own=OwnScores.of(data.score_names, data.caption_scores),
    )


class KnownCaptions:
    """Tells whether a training image has a caption, by its token ids; reads them when first asked."""

    def __init__(self, data: CaptionDataModule) -> None:
        self._data = data
        self._known: set[tuple[int, ...]] | None = None

    def __call__(self, caption: str) -> bool:
        """Return whether a training image has this caption, word for word."""
        encode = self._data.tokenizer.encode
        if self._known is None:
            # the images need not be there: the data set's own list is enough
            records = self._data.source.records("train")
            self._known = {tuple(encode(text)) for record in records for text in record.captions}
        return tuple(encode(caption)) in self._known


def build_module(
    config: Config,
    data: CaptionDataModule,
    captioners: Sequence[Captioner],
    portable: Config,
    *,
    start_scores: Mapping[str, float] | None = None,
) -> CaptioningModule:
    """Return the LightningModule of a checked configuration around a captioner, the first one.

    Several write captions together. ``portable`` and ``start_scores`` as of the module.
    """
    return CaptioningModule(
        evaluator=Evaluator(
            captioners,
            decoding=build_part(config["decoding"], "decoding"),
            tokenizer=data.tokenizer,
            metrics=build_metrics(config, data),
            samples=config["samples"],
        ),
        objective=build_part(config["objective"], "objective"),
        optimizer=build_part(config["optimizer"], "optimizer"),
        schedule=build_part(config["scheduler"], "scheduler") if config["scheduler"] else None,
        portable=portable,
        start_scores=start_scores,
    )


def training_text(
    data: CaptionDataModule, counted: PreparedReferences | None = None
) -> TrainingText:
    """Return the training captions as rewards read them; ``counted`` by another process or here."""
    return TrainingText(
        references=data.training_ids(),
        decode=data.tokenizer.decode,
        tokenize=scoring_tokenizer(data.source.language),
        truth=data.truth,
        captions_per_image=data.captions_per_image,
        language=data.source.language,
        counted=counted,
    )


def build_trainer(
    config: Config, loggers: list[Logger], callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Return Lightning's trainer.

    Raises:
        UserError: if Lightning refuses the settings.
    """
    plugins = config["trainer"].get("plugins") or []
    settings = {name: value for name, value in config["trainer"].items() if name != "plugins"}
    # without one of the user's, Lightning would make a checkpoint callback, and a folder, of its own
    settings.setdefault("enable_checkpointing", any(isinstance(c, Checkpoint) for c in callbacks))
    with library_refusals("trainer"):
        trainer: pl.Trainer = build_part(
            settings,
            "trainer",
            plugins=[*plugins, WholeCheckpoints()],
            logger=loggers or False,
            callbacks=[*callbacks, FinalValidation()],
            default_root_dir=config["output_dir"],
        )
    return trainer


def build_loggers(config: Config) -> list[Logger]:
    """Return the loggers of a configuration; one that is null is left out."""
    nodes = (config["logger"] or {}).items()
    return [build_part(node, f"logger.{name}") for name, node in nodes if node]


def build_callbacks(config: Config) -> list[pl.Callback]:
    """Return the callbacks of a configuration; one that is null is left out.

    Raises:
        UserError: if one refuses its settings.
    """
    built = []
    for name, node in (config["callbacks"] or {}).items():
        if node:
            with library_refusals(f"callbacks.{name}"):
                built.append(build_part(node, f"callbacks.{name}"))
    return built


def require_optimizer(module: CaptioningModule) -> None:
    """Let the optimizer and the schedule look at their settings before the first step does.

    Raises:
        UserError: if one refuses them.
    """
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        optimizer = module.new_optimizer([{"params": [weight]}])
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"optimizer: {first_line(error)}") from error
    module.new_schedule(optimizer, steps=10, epochs=1)


@contextmanager
def library_refusals(key: str) -> Iterator[None]:
    """Give what Lightning says about a setting the key under which it stands."""
    try:
        yield
    except (MisconfigurationException, TypeError) as error:
        raise UserError(f"{key}: {' '.join(str(error).split())}") from error
