"""Records become examples, examples become image-major batches.

B images, K captions an image, T tokens, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from captionlab.data.image_files import load_image
from captionlab.data.images import Augment, prepare
from captionlab.data.records import CaptionRecord
from captionlab.memory import Memory
from captionlab.text.tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class CaptionExample:
    """One image with its captions: image (3,h,w) uint8, each caption bos, words, eos (at least 2 ids)."""

    image: Tensor
    captions: list[Tensor]
    image_id: int | str
    references: list[str]


@dataclass(slots=True)
class CaptionBatch:
    """An image-major batch: the encoder runs once an image, whatever the number of captions.

    images (B,3,h,w) uint8, the encoder normalizes them on its own device; tokens (B,K,T) int64, bos
    words eos padding; lengths (B,K) int64 with bos and eos counted, 0 where a caption is absent.
    """

    images: Tensor | Memory
    tokens: Tensor
    lengths: Tensor
    image_ids: list[int | str]
    references: list[list[str]]

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> CaptionBatch:
        """Return the batch with its tensors on a device (Lightning calls this)."""
        return replace(
            self,
            images=self.images.each(lambda t: t.to(device, non_blocking=non_blocking))
            if isinstance(self.images, Memory)
            else self.images.to(device, non_blocking=non_blocking),
            tokens=self.tokens.to(device, non_blocking=non_blocking),
            lengths=self.lengths.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> CaptionBatch:
        """Return the batch in page-locked memory (the DataLoader calls this for a GPU)."""
        return replace(
            self,
            images=self.images.each(Tensor.pin_memory)
            if isinstance(self.images, Memory)
            else self.images.pin_memory(),
            tokens=self.tokens.pin_memory(),
            lengths=self.lengths.pin_memory(),
        )


class CaptionDataset(Dataset[CaptionExample]):
    """Images and encoded captions of one split.

    Args:
        records: the split. image_size, fit: how an image becomes (3,image_size,image_size).
        captions_per_image: with more captions than this, a random subset is drawn at each access
            (training); null keeps all of them.
        max_length: longest caption in tokens, bos and eos not counted; the rest is cut.
        cache: keep prepared images in memory after their first use.
        blank: give a gray image in place of each (what does the decoder know without seeing?).
    """

    def __init__(
        self,
        records: Sequence[CaptionRecord],
        tokenizer: Tokenizer,
        *,
        image_size: int,
        fit: str = "stretch",
        captions_per_image: int | None = None,
        max_length: int = 40,
        augment: Augment | None = None,
        cache: bool = False,
        blank: bool = False,
    ):
        self.records = records
        self.tokenizer = tokenizer
        self.image_size = image_size
        self.fit = fit
        self.captions_per_image = captions_per_image
        self.max_length = max_length
        self.augment = augment
        self.blank = blank
        self._images: dict[int, Tensor] | None = {} if cache and augment is None else None
        self._captions: dict[int, list[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> CaptionExample:
        record = self.records[index]
        captions = self._encoded(index, record)
        keep = self.captions_per_image
        if keep is not None and len(captions) > keep:
            captions = [captions[i] for i in torch.randperm(len(captions))[:keep].tolist()]
        return CaptionExample(
            self._image(index, record), captions, record.image_id, list(record.captions)
        )

    def image(self, index: int) -> Tensor:
        """Return the prepared image of an item, (3,image_size,image_size) uint8."""
        return self._image(index, self.records[index])

    def _encoded(self, index: int, record: CaptionRecord) -> list[Tensor]:
        if index not in self._captions:
            bos, eos = self.tokenizer.bos_id, self.tokenizer.eos_id
            self._captions[index] = [
                torch.tensor([bos, *self.tokenizer.encode(caption)[: self.max_length], eos])
                for caption in record.captions
            ]
        return self._captions[index]

    def _image(self, index: int, record: CaptionRecord) -> Tensor:
        if self.blank:
            return torch.full((3, self.image_size, self.image_size), 127, dtype=torch.uint8)
        if self._images is not None and index in self._images:
            return self._images[index]
        image = read_record_image(record, self.image_size)
        if self.augment is not None:
            image = self.augment(image, record.captions)
        image = prepare(image, self.image_size, self.fit)
        if self._images is not None:
            self._images[index] = image
        return image


def read_record_image(record: CaptionRecord, size: int | None = None) -> Tensor:
    """Return a record's image, (3,h,w) uint8, read from its file or drawn.

    ``size`` is what it will be resized to: a much larger JPEG is then decoded at reduced size.

    Raises:
        BrokenImage: if the file cannot be decoded.
    """
    if callable(record.image):
        return torch.from_numpy(np.ascontiguousarray(record.image())).permute(2, 0, 1)
    return load_image(record.image, size=size)


class Collate:
    """Stacks examples into a ``CaptionBatch``; a class, not a closure, so that workers can pickle it."""

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, examples: list[CaptionExample]) -> CaptionBatch:
        """Return the batch, padded to its longest caption and its largest number of captions."""
        most = max(len(example.captions) for example in examples)
        longest = max((len(c) for e in examples for c in e.captions), default=2)
        tokens = torch.full((len(examples), most, longest), self.pad_id)
        lengths = torch.zeros(len(examples), most, dtype=torch.long)
        for b, example in enumerate(examples):
            for k, caption in enumerate(example.captions):
                tokens[b, k, : len(caption)] = caption
                lengths[b, k] = len(caption)
        return CaptionBatch(
            torch.stack([example.image for example in examples]),
            tokens,
            lengths,
            [example.image_id for example in examples],
            [example.references for example in examples],
        )


class EvaluationSampler(Sampler[int]):
    """Deals a split to the ranks in turn, the first items again where it does not divide evenly.

    Every rank gets the same number of batches, because DDP's collective calls hang otherwise; the
    repeated items are dropped by image id before anything is scored, so that a score does not
    depend on the number of GPUs (pytorch-lightning issues 5060 and 7929).
    """

    def __init__(self, size: int, rank: int, ranks: int):
        self.size, self.rank, self.ranks = size, rank, ranks

    def __len__(self) -> int:
        return -(-self.size // self.ranks)

    def __iter__(self) -> Iterator[int]:
        return (i % self.size for i in range(self.rank, len(self) * self.ranks, self.ranks))
