"""Examples become an image-major batch.

B images, K captions an image, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionBatch, CaptionExample, drawn_from
from captionlab.data.features.store import stack

T = TypeVar("T")


class Collate:
    """Stacks examples into a ``CaptionBatch``; a class, not a closure, so that workers can pickle it.

    ``mixup`` above 0 mixes each image with its neighbor in the batch.
    """

    def __init__(self, pad_id: int, mixup: float = 0.0):
        self.pad_id = pad_id
        self.mixup = mixup

    def __call__(self, examples: list[CaptionExample]) -> CaptionBatch:
        """Return the batch, padded to its longest caption and its largest number of captions."""
        if self.mixup:
            with drawn_from(examples[0].seed):
                examples = mixed(examples, self.mixup)
        most = max(len(example.captions) for example in examples)
        longest = max((len(c) for e in examples for c in e.captions), default=2)
        tokens = torch.full((len(examples), most, longest), self.pad_id)
        lengths = torch.zeros(len(examples), most, dtype=torch.long)
        for b, example in enumerate(examples):
            for k, caption in enumerate(example.captions):
                tokens[b, k, : len(caption)] = caption
                lengths[b, k] = len(caption)
        images, rows = _distinct(examples)
        prompts = self._prompts(examples, most)
        return CaptionBatch(
            _join(images),
            tokens,
            lengths,
            [example.image_id for example in examples],
            [example.references for example in examples],
            prompts=prompts,
            scored_ids=None if prompts is None else [_scored_ids(example) for example in examples],
            rows=rows,
        )

    def _prompts(self, examples: Sequence[CaptionExample], most: int) -> Tensor | None:
        """Return what is given before each of at most ``most`` captions (B,K,P), None if nothing is."""
        longest = max((len(p) for e in examples for p in e.prompts), default=0)
        if not longest:
            return None
        prompts = torch.full((len(examples), most, longest), self.pad_id)
        for b, example in enumerate(examples):
            for k, prompt in enumerate(example.prompts):
                prompts[b, k, : len(prompt)] = prompt
        return prompts


def _distinct(
    examples: Sequence[CaptionExample],
) -> tuple[list[Tensor | Memory], Tensor | None]:
    """Return the image of several prompts once, and to which each example belongs (None: one each)."""
    if all(example.picture_id is None for example in examples):
        return [example.image for example in examples], None
    # an image without prompts is one of its own, whatever its id
    keys = [
        ("own", place) if example.picture_id is None else ("picture", example.picture_id)
        for place, example in enumerate(examples)
    ]
    images = {key: example.image for key, example in zip(keys, examples, strict=True)}
    rows = {key: row for row, key in enumerate(images)}
    return list(images.values()), torch.tensor([rows[key] for key in keys])


def mixed(examples: Sequence[CaptionExample], alpha: float) -> list[CaptionExample]:
    """Return each image mixed with the one before it (Zhang et al. 2018, "mixup").

    The image's own share is drawn from Beta(alpha, alpha), or is what that leaves of 1 if this is
    more. Each of its captions is the other image's with probability 1 - share, with what is given
    before it and the id of its references: the mean loss is that of both images' captions, weighed by
    their shares. The image's id and references stay its own.
    """
    beta = torch.distributions.Beta(alpha, alpha).sample((len(examples),))
    result = []
    for i, (example, share) in enumerate(zip(examples, beta.maximum(1 - beta), strict=True)):
        other = examples[i - 1]
        assert isinstance(example.image, Tensor)
        assert isinstance(other.image, Tensor)
        image = share * example.image + (1 - share) * other.image
        instead = torch.rand(len(example.captions)) > share
        swaps = [swap and k < len(other.captions) for k, swap in enumerate(instead.tolist())]
        captions = _swapped(example.captions, other.captions, swaps)
        prompts, scored_ids = example.prompts, example.scored_ids
        if prompts or other.prompts:
            prompts = _swapped(_prompts_of(example), _prompts_of(other), swaps)
            scored_ids = _swapped(_scored_ids(example), _scored_ids(other), swaps)
        image = image.round().to(torch.uint8)
        mix = replace(example, image=image, captions=captions)
        result.append(replace(mix, prompts=prompts, scored_ids=scored_ids))
    return result


def _prompts_of(example: CaptionExample) -> list[Tensor]:
    """Return what is given before each caption, empty ids where nothing is."""
    return example.prompts or [torch.zeros(0, dtype=torch.long)] * len(example.captions)


def _scored_ids(example: CaptionExample) -> list[int | str]:
    """Return an id for each caption: the image's own where none has a prompt."""
    return example.scored_ids or [example.image_id] * len(example.captions)


def _swapped(own: list[T], others: list[T], swaps: list[bool]) -> list[T]:
    return [
        others[k] if swap else one for k, (one, swap) in enumerate(zip(own, swaps, strict=True))
    ]


def _join(images: list[Tensor | Memory]) -> Tensor | Memory:
    memories = [image for image in images if isinstance(image, Memory)]
    if memories:
        return stack(memories)
    return torch.stack([image for image in images if isinstance(image, Tensor)])
