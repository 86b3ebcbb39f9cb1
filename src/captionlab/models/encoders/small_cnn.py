"""A small convolutional encoder, trained from nothing on the built-in data in minutes on a CPU.

Legend: B images, N memory slots (the cells of the last grid), D memory width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.encoders.image_encoder import ImageEncoder
from captionlab.models.encoders.layers import (
    LAST,
    join_maps,
    layer_indices,
    require_few_slots,
    require_trainable,
)
from captionlab.models.encoders.weight_files import KEY, load_weights_file


class SmallCNN(ImageEncoder):
    """Convolutions that halve the image, residual blocks on the last grid, learned positions.

    Each of ``channels`` stands for one convolution of stride 2, so 64 x 64 images and three of
    them give a grid of 8 x 8; ``blocks`` residual blocks (He et al. 2016) follow. ``layers`` are the
    grids that slots are made of, one for each of ``channels`` (``encoders.layers``; None: the last).
    A learned vector for each cell is added to its slot: a caption that says left or right must know
    where a slot is. ``weights`` is the path of a captionlab checkpoint with such an encoder, or of
    a state dict; ``trainable`` none keeps it as it is. Raises UserError where the grid would have no
    cell, or a part of one, for layers that do not exist, and for weights that do not fit.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (32, 64, 128),
        blocks: int = 1,
        weights: str | None = None,
        layers: Sequence[int] | None = None,
        trainable: Literal["none", "all"] = "all",
        learning_rate: float | None = None,
        image_size: int = 64,
        mask_padding: bool = False,
    ) -> None:
        require_trainable(trainable, ("none", "all"))
        indices, side = _grid(channels, image_size, layers)
        dim = sum(channels[index] for index in indices)
        gray = [0.5] * 3
        super().__init__(
            dim=dim,
            image_size=image_size,
            learning_rate=learning_rate,
            mean=gray,
            std=gray,
            mask_padding=mask_padding,
            layer_indices=indices,
        )
        self._grids = len(channels)
        inputs = [3, *channels]
        self.layers = nn.Sequential(
            *(_convolution(inputs[i], inputs[i + 1], stride=2) for i in range(len(channels))),
            *(Residual(channels[-1]) for _ in range(blocks)),
        )
        self.positions = nn.Parameter(torch.randn(side * side, dim) * 0.1)
        # on a CPU this layout trains a quarter faster
        self.layers.to(memory_format=torch.channels_last)
        if weights is not None:
            load_weights_file(self, Path(weights), key=KEY, kind="this SmallCNN")
        self.trainable = trainable
        self.requires_grad_(trainable == "all")
        # a module begins in training mode, and Lightning leaves it there: frozen statistics would move
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen encoder always stays in evaluation."""
        return super().train(mode and self.trainable == "all")

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1].

        Raises ValueError for images of another size than ``image_size``.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"this encoder was built for images of {self.image_size} x {self.image_size}, "
                f"got {images.shape[-2]} x {images.shape[-1]}"
            )
        pixels = self.normalize(images).contiguous(memory_format=torch.channels_last)
        slots = join_maps(self._maps(pixels), self.layer_indices) + self.positions
        return self.memory(images, slots, slots.mean(1))

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        """Return the maps (B, D, h, w) of the chosen grids."""
        kept: dict[int, Tensor] = {}
        x = pixels
        for place, layer in enumerate(self.layers):
            grid = min(place - self._grids, -1)  # the residual blocks belong to the last one
            if grid > max(self.layer_indices):
                break  # nothing reads what follows
            x = layer(x)
            kept[grid] = x
        return [kept[index] for index in self.layer_indices]


def _grid(
    channels: Sequence[int], image_size: int, layers: Sequence[int] | None
) -> tuple[tuple[int, ...], int]:
    """Return the layers that are read, from the end, and the side of the deepest one's grid."""
    side = _last_side(channels, image_size)
    indices = layer_indices(layers, len(channels), f"SmallCNN of channels={list(channels)}")
    side *= 2 ** (-1 - max(indices))
    if indices != LAST:
        require_few_slots(side * side, indices)
    return indices, side


def _last_side(channels: Sequence[int], image_size: int) -> int:
    """Return the side of the last grid; UserError where it would have no cell, or a part of one."""
    if not channels:
        raise UserError(f"channels={list(channels)}: an encoder has at least one convolution")
    side, rest = divmod(image_size, 2 ** len(channels))
    if side < 1 or rest:
        raise UserError(
            f"{len(channels)} convolutions of stride 2 need an image_size that "
            f"{2 ** len(channels)} divides, got {image_size}"
        )
    return side


class Residual(nn.Module):
    """Two convolutions around a short cut; the output has the input's shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width, stride=1)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D, h, w) from (B, D, h, w)."""
        return (x + self.second(self.first(x))).relu_()


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
