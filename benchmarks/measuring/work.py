"""What is measured: families of captioners, operations, sizes; and made data of these sizes.

Legend: B images, K captions an image, T tokens, N memory slots, D memory width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

PAD, BOS, EOS = 0, 1, 2
FIRST_WORD = 4
SAMPLES = 5  # captions drawn an image in a self-critical step


DECODING = ("greedy", "beam")
PHOTOS = ("predict", "cold_start")  # of experiment=photos, whatever the family
SELF_CRITICAL = ("self_critical", "leave_one_out")
OPERATIONS = ("train", *DECODING, *SELF_CRITICAL, *PHOTOS)


@dataclass(frozen=True)
class Family:
    """A captioner's overrides and usual sizes; its vocabulary where it brings one.

    ``operations`` are those that the table holds where none are asked for, ``images`` the batches
    that are then decoded.
    """

    overrides: tuple[str, ...]
    cells: int = 36
    vocabulary: int = 9487
    operations: tuple[str, ...] = ("train", *DECODING)
    images: tuple[int, ...] = (10,)


FAMILIES = {
    "att2in": Family(("model=att2in",), cells=196),
    # cells embedded once an image to the decoder's width, as ImageCaptioning.pytorch does
    "att2in_512": Family(
        ("model=att2in", "model/connector=linear"),
        cells=196,
        operations=("train", *DECODING, *SELF_CRITICAL),
        images=(10, 50),
    ),
    "updown": Family(("model=updown", "model.attention.width=512")),
    "updown_1000": Family(
        (
            "model=updown",
            "model.attention.width=512",
            "model/connector=linear",
            "model.connector.width=1000",
        ),
        operations=("train", *DECODING, *SELF_CRITICAL),
        images=(10, 50),
    ),
    "attn_lstm": Family(("model=attn_lstm",), cells=196),
    "transformer": Family(("model=transformer",), operations=("train", *DECODING, "leave_one_out")),
    "m2": Family(("model=m2",)),
    "gpt2": Family(
        (
            "model=gpt2",
            "model.decoder.weights=null",
            "model.decoder.architecture={model_type: gpt2}",
        ),
        vocabulary=50257 + FIRST_WORD,
    ),
}


@dataclass(frozen=True)
class Work:
    """One cell of the table: what is done, with which sizes, in which precision, where.

    ``realistic`` lets captions end by themselves after 8 to 16 words; otherwise each is ``steps``
    long. ``overrides`` come behind the family's own.
    """

    family: str
    operation: str
    images: int = 10
    captions: int = 5
    cells: int = 36
    width: int = 2048
    vocabulary: int = 9487
    steps: int = 16
    realistic: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    overrides: tuple[str, ...] = ()

    @classmethod
    def of(cls, family: str, operation: str, **sizes: Any) -> Work:
        """Return the work with the family's own sizes where ``sizes`` has none, or None."""
        given = {name: value for name, value in sizes.items() if value is not None}
        usual = {"cells": FAMILIES[family].cells, "vocabulary": FAMILIES[family].vocabulary}
        return cls(family, operation, **{**usual, **given})

    @property
    def items(self) -> int:
        """What one run makes: captions in training, images in decoding, runs of a program."""
        if self.operation == "train":
            return self.images * self.captions
        if self.operation in SELF_CRITICAL:
            return self.images * SAMPLES
        return 1 if self.operation == "cold_start" else self.images

    @property
    def unit(self) -> str:
        """What ``items`` counts."""
        if self.operation in ("train", *SELF_CRITICAL):
            return "captions/s"
        return "starts/s" if self.operation == "cold_start" else "images/s"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Work:
        """Return the work of plain values."""
        return cls(**{**values, "overrides": tuple(values["overrides"])})

    def slots(self) -> Tensor:
        """Return made features (B,N,D): positive, as behind a ReLU, and of one image alike."""
        draw = torch.Generator().manual_seed(1)
        image = torch.randn(self.images, 1, self.width, generator=draw)
        cells = torch.randn(self.images, self.cells, self.width, generator=draw)
        return (image + cells).relu().to(self.device)

    def tokens(self) -> tuple[Tensor, Tensor]:
        """Return captions (B,K,T) of 8 to 16 words between bos and eos, and their lengths (B,K)."""
        draw = torch.Generator().manual_seed(2)
        shape = (self.images, self.captions)
        words = torch.randint(8, self.steps + 1, shape, generator=draw)
        tokens = torch.randint(
            FIRST_WORD, self.vocabulary, (*shape, self.steps + 2), generator=draw
        )
        place = torch.arange(self.steps + 2)
        tokens[place.expand_as(tokens) == words[..., None] + 1] = EOS
        tokens[place.expand_as(tokens) > words[..., None] + 1] = PAD
        tokens[..., 0] = BOS
        return tokens.to(self.device), (words + 2).to(self.device)


def ending_bias(last: Tensor, step: int) -> Tensor:
    """Return what is added to the end token's logit behind the last words, of any shape.

    From the eighth word on a share of the words, larger step by step, ends a caption. Word and step
    alone decide, so that every decoder that writes the same words ends at the same place.
    """
    chance = max(0, step - 7) * 0.1
    draw = ((last + 7919 * step) * 2654435761 % 2**32).double() / 2**32
    return torch.where(draw < chance, 14.0, -30.0)
