"""Captions of similar images before each caption of a run: looked up once, before its first step."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.models.captioner import Captioner
from captionlab.objectives.frozen import encoder_learns
from captionlab.training.index import caption_ids

log = logging.getLogger("captionlab")


def index_training_captions(captioner: Captioner, data: CaptionDataModule) -> None:
    """Give the index of a captioner that retrieves the training captions: they decide its sizes.

    Nothing is done to one that does not.

    Raises:
        UserError: if its encoder learns, the training images are varied, or its tokenizer comes from a
            captioner that does not retrieve.
    """
    if captioner.retrieval is None:
        return
    way_out = "or leave captions of similar images out: model/retrieval=none"
    if data.tokenizer.similar_id is None:
        raise UserError(
            "model/retrieval gives captions of similar images, and the captioner to start from was "
            f"trained without: start from one that was, {way_out}"
        )
    if encoder_learns(captioner):
        raise UserError(
            "model/retrieval compares images as the encoder sees them, so that it must not change: "
            f"say model.encoder.trainable=none, {way_out}"
        )
    if data.augment is not None:
        raise UserError(
            "data.augment varies the training images, and model/retrieval compares each as it is: say "
            f"data/augment=none, {way_out}"
        )
    captioner.retrieval.index.set_captions(caption_ids(data))


def fill_training_index(
    captioner: Captioner, data: CaptionDataModule, device: torch.device
) -> None:
    """Look at the training images, and hold what is seen of them."""
    if captioner.retrieval is None:
        return
    captioner.to(device)
    index = captioner.retrieval.index
    index.set_features(_pooled(captioner, data, "train"))
    log.info(
        "retrieval  captions of %s similar images before each caption, among %s of training",
        captioner.retrieval.images,
        f"{index.sizes.images:,}",
    )


def retrieve(
    captioner: Captioner, data: CaptionDataModule, splits: Sequence[str], device: torch.device
) -> None:
    """Let the data give captions of similar images before each caption of these splits.

    A training image is never given its own captions, whoever has trained the captioner.
    """
    if captioner.retrieval is None:
        return
    captioner.to(device)
    for split in splits:
        places: Tensor | None = None
        if split == "train" and _is_indexed(captioner, data):
            places = torch.arange(len(data.dataset("train")))
        given: list[list[int]] = []
        for pooled in _pooled(captioner, data, split):
            own = None if places is None else places[len(given) :][: len(pooled)].to(pooled.device)
            given += captioner.retrieval.prompts(pooled, own)
        data.dataset(split).give_before(given)


def _is_indexed(captioner: Captioner, data: CaptionDataModule) -> bool:
    """Return whether the index is that of the data's training images, in their order."""
    index = captioner.retrieval.index
    ids = [token for image in caption_ids(data) for caption in image for token in caption]
    sizes = (len(data.dataset("train")), len(ids))
    return sizes == (index.sizes.images, index.sizes.tokens) and index.tokens.tolist() == ids


@torch.inference_mode()
def _pooled(captioner: Captioner, data: CaptionDataModule, split: str) -> Iterator[Tensor]:
    """Yield what the encoder alone sees of each image of a split, (b,D) after (b,D)."""
    device = captioner.retrieval.index.features.device
    with _evaluating(captioner):
        for batch in data.whole_dataloader(split):
            pooled = captioner.look(batch.to(device).images).pooled
            yield pooled if batch.rows is None else pooled[batch.rows.to(device)]


@contextmanager
def _evaluating(captioner: Captioner) -> Iterator[None]:
    modes = {module: module.training for module in captioner.modules()}
    captioner.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
