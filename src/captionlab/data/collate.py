"""Examples become an image-major batch.

B images, K captions an image, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.data.dataset import CaptionBatch, CaptionExample, drawn_from
from captionlab.data.features.store import stack


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
        return CaptionBatch(
            _join([example.image for example in examples]),
            tokens,
            lengths,
            [example.image_id for example in examples],
            [example.references for example in examples],
        )


def mixed(examples: Sequence[CaptionExample], alpha: float) -> list[CaptionExample]:
    """Return each image mixed with the one before it (Zhang et al. 2018, "mixup").

    The image's own share is drawn from Beta(alpha, alpha), or is what that leaves of 1 if this is
    more. Each of its captions is the other image's with probability 1 - share: the mean loss is that
    of both images' captions, weighed by their shares. Ids and references stay the image's own.
    """
    beta = torch.distributions.Beta(alpha, alpha).sample((len(examples),))
    result = []
    for i, (example, share) in enumerate(zip(examples, beta.maximum(1 - beta), strict=True)):
        other = examples[i - 1]
        assert isinstance(example.image, Tensor)
        assert isinstance(other.image, Tensor)
        image = share * example.image + (1 - share) * other.image
        instead = torch.rand(len(example.captions)) > share
        captions = [
            other.captions[k] if swap and k < len(other.captions) else caption
            for k, (caption, swap) in enumerate(
                zip(example.captions, instead.tolist(), strict=True)
            )
        ]
        result.append(replace(example, image=image.round().to(torch.uint8), captions=captions))
    return result


def _join(images: list[Tensor | Memory]) -> Tensor | Memory:
    memories = [image for image in images if isinstance(image, Memory)]
    if memories:
        return stack(memories)
    return torch.stack([image for image in images if isinstance(image, Tensor)])
