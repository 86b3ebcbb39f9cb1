"""A trained captioner and a photo: ``load_captioner("best.ckpt")("photo.jpg")``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captionlab.checkpoints import captioner_of, read_checkpoint
from captionlab.configuration import TRUSTED_TARGETS, build, override
from captionlab.data.image_files import load_image
from captionlab.data.images import prepare
from captionlab.decoding.captions import generate
from captionlab.decoding.generated import Generated
from captionlab.models.captioner import Captioner
from captionlab.signatures import check
from captionlab.text.tokenizers import Tokenizer


class LoadedCaptioner:
    """A trained captioner that takes photos: ``load_captioner("best.ckpt")("photo.jpg")``.

    Attributes:
        captioner, tokenizer, decoding, config: its parts.
    """

    def __init__(
        self,
        captioner: Captioner,
        tokenizer: Tokenizer,
        decoding: Any,
        config: Mapping[str, Any],
        device: str | torch.device = "cpu",
    ):
        self.captioner = captioner.to(device).eval()
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.config = config
        self.device = torch.device(device)

    def __call__(self, image: str | os.PathLike[str] | Tensor) -> str:
        """Return the caption of one image: a path, or a (3,h,w) uint8 tensor.

        Raises:
            BrokenImage: if the file cannot be decoded. UserError: if there is no such file.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[str | os.PathLike[str] | Tensor]) -> list[str]:
        """Return the captions of several images, generated together."""
        return self.caption(torch.stack([self.prepare(image) for image in images]))

    def prepare(self, image: str | os.PathLike[str] | Tensor) -> Tensor:
        """Return an image as the encoder wants it, (3,size,size) uint8."""
        size = self.captioner.encoder.image_size
        if not isinstance(image, Tensor):
            image = load_image(Path(image), size=size)
        return prepare(image, size, self.config["data"]["fit"])

    def caption(self, images: Tensor) -> list[str]:
        """Return the captions of prepared images (B,3,size,size) uint8."""
        return self.generate(images)[0]

    @torch.inference_mode()
    def generate(self, images: Tensor) -> tuple[list[str], Generated]:
        """Return captions and all that the decoding found (scores, attention) of prepared images."""
        memory = self.captioner.encode(images.to(self.device))
        return generate(self.captioner, memory, self.decoding, self.tokenizer)


def load_captioner(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    decoding: Sequence[str] = (),
    trust: Sequence[str] = (),
) -> LoadedCaptioner:
    """Return the trained captioner of a checkpoint, ready for photos.

    Args:
        path: a file that captionlab's training wrote.
        device: "cpu", "cuda", "cuda:1" ...
        decoding: overrides, e.g. ``["decoding=beam", "decoding.beam_size=5"]``.
        trust: packages of your own whose classes the checkpoint may name.

    Raises:
        UserError: as ``read_checkpoint`` and ``captioner_of``.
    """
    checkpoint = read_checkpoint(path)
    config = (
        override(checkpoint.config, decoding, groups=("decoding",))
        if decoding
        else checkpoint.config
    )
    check({"decoding": config["decoding"]}, trusted=(*TRUSTED_TARGETS, *trust))
    return LoadedCaptioner(
        captioner_of(checkpoint, trust),
        checkpoint.tokenizer,
        build(config["decoding"], "decoding"),
        config,
        device,
    )
