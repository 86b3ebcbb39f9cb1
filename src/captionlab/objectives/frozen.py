"""A captioner that an objective asks for probabilities and never trains."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner


class FrozenCaptioner:
    """Holds a captioner in evaluation mode, without gradients, outside the tree of modules.

    No optimizer, no average, no other process and no checkpoint of weights sees it, and training
    mode never reaches it. The captioner given is changed so: hand in one of its own.
    """

    def __init__(self, captioner: Captioner) -> None:
        self.captioner = captioner.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, images: Tensor | Memory) -> Memory:
        """Return what it sees of images, on whose device it is from then on."""
        device = (images.pooled if isinstance(images, Memory) else images).device
        self.captioner.to(device)
        return self.captioner.encode(images)


def encoder_learns(captioner: Captioner) -> bool:
    """Return whether training changes what a captioner's encoder sees."""
    return any(parameter.requires_grad for parameter in captioner.encoder.parameters())


def frozen_copy(captioner: Captioner) -> FrozenCaptioner:
    """Return a copy of a captioner as it is now; of an encoder that does not learn there is none.

    Where there is none the copy takes the memory that the captioner's own encoder gives.
    """
    shared = {} if encoder_learns(captioner) else {id(captioner.encoder): nn.Identity()}
    return FrozenCaptioner(copy.deepcopy(captioner, shared))
