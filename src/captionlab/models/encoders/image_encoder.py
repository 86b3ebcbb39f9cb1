"""The bases of encoders that look at images.

Legend: B images, N memory slots, D memory width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.core.padding import cells_of_picture
from captionlab.models.encoders.layers import (
    LAST,
    require_learning_is_read,
    require_trainable,
)

# of the colors of ImageNet's photographs
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Trainable = Literal["none", "last_stage", "all"]


class ImageEncoder(nn.Module):
    """The base of encoders that look at images: it brings them to the scale they want.

    ``dim`` is the memory's width D, ``pooled_dim`` that of its pooled vector (None: D too),
    ``image_size`` the side of the square images it expects, ``learning_rate`` that of its trainable
    parameters (None: the optimizer's), ``layer_indices`` the layers that slots are made of, counted
    from the end. The mean and the standard deviation of each color are buffers and go with the
    weights into a checkpoint. ``mask_padding`` leaves the bars of padded images out of the memory's
    mask.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        dim: int,
        image_size: int,
        learning_rate: float | None,
        mean: list[float],
        std: list[float],
        mask_padding: bool = False,
        pooled_dim: int | None = None,
        layer_indices: tuple[int, ...] = LAST,
    ) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.dim = dim
        self.pooled_dim = dim if pooled_dim is None else pooled_dim
        self.layer_indices = layer_indices
        self.image_size = image_size
        self.learning_rate = learning_rate
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def normalize(self, images: Tensor) -> Tensor:
        """Return float images (B, 3, h, w) with the wanted mean and standard deviation.

        ``images`` are uint8, or floats in [0, 1]. Raises ValueError for any other shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have shape (B, 3, h, w), got {tuple(images.shape)}")
        white = 255.0 if images.dtype == torch.uint8 else 1.0
        return (images - self.mean * white) / (self.std * white)

    def memory(self, images: Tensor, slots: Tensor, pooled: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w) with slots (B, N, D) and pooled (B, D).

        Slots that show padding alone are no real ones where the encoder masks it; ``pooled`` is
        what the network makes of the whole square. Raises UserError where slots are no square grid.
        """
        if self.mask_padding:
            return Memory(slots, pooled, cells_of_picture(images, slots.shape[1]))
        return Memory(slots, pooled, slots.new_ones(slots.shape[:2], dtype=torch.bool))


class TrunkEncoder(ImageEncoder):
    """The base of encoders around a network from elsewhere, of which all, a part or nothing learns."""

    def adopt(self, trunk: nn.Module, trainable: str, last_stage: Sequence[nn.Module]) -> None:
        """Take the network, and let learn of it what ``trainable`` says; the rest is frozen.

        What does not learn, batch-norm statistics and dropout included, stays as in evaluation.
        Raises UserError for another word than none, last_stage and all, and for a last stage of
        which nothing is read.
        """
        require_trainable(trainable, get_args(Trainable))
        require_learning_is_read(self.layer_indices, trainable)
        self.trunk: Any = trunk
        self.trainable = trainable
        # a Vision Transformer has one, which cuts patches
        self._convolves = sum(isinstance(m, nn.Conv2d) for m in trunk.modules()) > 1
        self._learning = {"none": (), "last_stage": tuple(last_stage), "all": (trunk,)}[trainable]
        trunk.requires_grad_(False)
        for module in self._learning:
            module.requires_grad_(True)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode on the parts that learn; frozen parts always stay in evaluation."""
        super().train(mode)
        self.trunk.eval()
        for module in self._learning:
            module.train(mode)
        return self

    def pixels(self, images: Tensor) -> Tensor:
        """Return normalized images, on a CPU in the layout in which convolutions are faster there."""
        if self._convolves and images.ndim == 4 and images.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        return self.normalize(images)

    def learning(self) -> torch.set_grad_enabled:
        """Return a context in which gradients are kept only where something learns."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable != "none")
