"""A captioner without anything to train: it looks at the training images once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.core.modules import modes_kept
from captionlab.core.targets import locate
from captionlab.data.datamodule import CaptionDataModule
from captionlab.inference.checkpoints import Checkpoint
from captionlab.models.captioner import Captioner
from captionlab.training.module import CaptioningModule
from captionlab.training.monitors import is_validated

log = logging.getLogger("captionlab")


def learns(captioner: Captioner) -> bool:
    """Return whether a captioner is trained; one with an index of captions is not."""
    return bool(getattr(captioner.decoder, "learns", True))


def require_trainable(config: Config, start: Checkpoint | None) -> None:
    """Raise UserError where a model that is not trained shall go on from a checkpoint."""
    decoder = config["model"]["decoder"]
    if start is not None and not getattr(locate(decoder["_target_"]), "learns", True):
        key = "ckpt" if config["ckpt"] else "init_from"
        raise UserError(
            f"{key}={start.path}: model={config['model']['name']} trains nothing that could go on; "
            f"leave {key} out, and it is made anew in one look at the training images"
        )


def index_captions(captioner: Captioner, data: CaptionDataModule) -> None:
    """Give a captioner's index the training captions: what they are decides its sizes.

    Raises:
        UserError: if the training images are varied, or captions have something before them.
    """
    if data.tokenizer.controls:
        raise UserError(
            "model=nearest knows captions by their pictures alone, and these data have questions, "
            "styles or languages before them: say data.prompts=false"
        )
    if data.augment is not None:
        raise UserError(
            "data.augment varies the training images, and this model looks at each one once: say "
            "data/augment=none"
        )
    captioner.decoder.index.set_captions(caption_ids(data))


def caption_ids(data: CaptionDataModule) -> list[list[list[int]]]:
    """Return the token ids of each training image's captions, without bos and eos."""
    dataset = data.dataset("train")
    return [
        [caption[1:-1].tolist() for caption in dataset.encoded(number)]
        for number in range(len(dataset))
    ]


def fill_index(
    trainer: pl.Trainer, module: CaptioningModule, data: CaptionDataModule, output_dir: str
) -> None:
    """Look at the training images, validate, and write best.ckpt, in place of all epochs."""
    captioner, index = module.captioner, module.captioner.decoder.index
    log.info(
        "training   none: this model learns nothing; it looks once at %s images and keeps their "
        "%s captions",
        f"{index.sizes.images:,}",
        f"{index.sizes.captions:,}",
    )
    captioner.to(trainer.strategy.root_device).eval()
    index.set_features(pooled_features(captioner, data))
    if is_validated(trainer):
        trainer.validate(module, datamodule=data, verbose=False)
    else:
        trainer.strategy.connect(module)  # without which nothing can be saved
    kept = Path(output_dir) / "checkpoints" / "best.ckpt"
    if trainer.checkpoint_callbacks:
        trainer.save_checkpoint(kept, weights_only=True)
    best = trainer.checkpoint_callback
    if isinstance(best, ModelCheckpoint):
        # as if it were the best of its epochs: the test loads it, a sweep maximizes its score
        best.best_model_path = str(kept)
        score = trainer.callback_metrics.get(best.monitor or "")
        best.best_model_score = score


@torch.inference_mode()
def pooled_features(
    captioner: Captioner, data: CaptionDataModule, split: str = "train"
) -> Iterator[Tensor]:
    """Yield what the encoder alone sees of each item of a split, (b,D) after (b,D)."""
    device = next((b.device for b in captioner.buffers()), torch.device("cpu"))
    with modes_kept(captioner):
        captioner.eval()
        for batch in data.whole_dataloader(split):
            pooled = captioner.look(batch.to(device).images).pooled
            yield pooled if batch.rows is None else pooled[batch.rows.to(device)]
