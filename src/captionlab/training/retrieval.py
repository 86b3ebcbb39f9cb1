"""Captions of similar images before each caption of a run: looked up once, before its first step."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.models.captioner import Captioner
from captionlab.objectives.frozen import encoder_learns
from captionlab.training.index import caption_ids, pooled_features

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
    """Look at the training images, hold what is seen of them, and let their captions be given."""
    if captioner.retrieval is None:
        return
    captioner.to(device)
    index = captioner.retrieval.index
    # at once, for both: an encoder's look at every image takes long
    pooled = list(pooled_features(captioner, data))
    index.set_features(pooled)
    _give_before(captioner, data, "train", pooled, indexed=True)
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
        indexed = split == "train" and _is_indexed(captioner, data)
        _give_before(captioner, data, split, pooled_features(captioner, data, split), indexed)


def _give_before(
    captioner: Captioner,
    data: CaptionDataModule,
    split: str,
    pooled: Iterable[Tensor],
    indexed: bool,
) -> None:
    """Give what is retrieved for pooled vectors (b,D); ``indexed``: they are those of the index."""
    given: list[list[int]] = []
    for part in pooled:
        places = torch.arange(len(given), len(given) + len(part), device=part.device)
        given += captioner.retrieval.prompts(part, places if indexed else None)
    data.dataset(split).give_before(given)


def _is_indexed(captioner: Captioner, data: CaptionDataModule) -> bool:
    """Return whether the index is that of the data's training images, in their order."""
    index = captioner.retrieval.index
    ids = [token for image in caption_ids(data) for caption in image for token in caption]
    sizes = (len(data.dataset("train")), len(ids))
    return sizes == (index.sizes.images, index.sizes.tokens) and index.tokens.tolist() == ids
