"""Images for the encoder: brought to size, and varied for training."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.padding import PADDING

Fit = Literal["stretch", "crop", "pad"]
# left, top, right, bottom as shares of an image's width and height
Box = tuple[float, float, float, float]
SIDES = re.compile(r"\b(?:left|right)|左|右", re.IGNORECASE)
OTHER_SIDE = {"left": "right", "right": "left", "左": "右", "右": "左"}
Sides = Literal["swap", "keep"]


def prepare(image: Tensor, size: int, fit: str = "stretch") -> Tensor:
    """Return the image as (3,size,size) uint8, resized with antialiasing (bilinear).

    Args:
        image: (3,h,w) uint8.
        fit: "stretch" changes the proportions, "crop" takes the central square, "pad" adds bars of
            ImageNet's mean color.

    Raises:
        UserError: for another `fit`.
    """
    _require_fit(fit)
    height, width = image.shape[1:]
    if fit == "stretch":
        return _resize(image, size, size)
    if fit == "crop":
        top, left, side = _central(height, width)
        return _resize(image[:, top : top + side, left : left + side], size, size)
    small = _resize(image, *scaled(height, width, size))
    canvas = torch.tensor(PADDING, dtype=torch.uint8)[:, None, None].repeat(1, size, size)
    top, left = (size - small.shape[1]) // 2, (size - small.shape[2]) // 2
    canvas[:, top : top + small.shape[1], left : left + small.shape[2]] = small
    return canvas


def frame(height: int, width: int, size: int, fit: str = "stretch") -> Box:
    """Return where the square that ``prepare`` makes of an image lies on that image.

    With "crop" it is a part of the image; with "pad" it reaches beyond it, below 0 and above 1.

    Raises:
        UserError: for another `fit`.
    """
    _require_fit(fit)
    if fit == "stretch":
        return (0.0, 0.0, 1.0, 1.0)
    if fit == "crop":
        top, left, side = _central(height, width)
        return (left / width, top / height, (left + side) / width, (top + side) / height)
    h, w = scaled(height, width, size)
    top, left = (size - h) // 2, (size - w) // 2
    return (-left / w, -top / h, (size - left) / w, (size - top) / h)


def shrunk(image: Tensor, largest: int) -> Tensor:
    """Return the image (3,h,w) in its own proportions, its long side ``largest`` pixels at most."""
    height, width = image.shape[1:]
    if max(height, width) <= largest:
        return image
    return _resize(image, *scaled(height, width, largest))


def scaled(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return the height and width of an image whose long side becomes ``longest`` pixels."""
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _require_fit(fit: str) -> None:
    if fit not in get_args(Fit):
        raise UserError(f"data.fit={fit!r}: {did_you_mean(fit, get_args(Fit))}")


def _central(height: int, width: int) -> tuple[int, int, int]:
    """Return top, left and side of the central square."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[1:] == (height, width):
        return image.contiguous()
    resized = F.interpolate(image[None], (height, width), mode="bilinear", antialias=True)
    return resized[0].contiguous()


@dataclass(frozen=True, slots=True)
class Augment:
    """Varies a training image: by default a mild random crop, and half the time a mirror image.

    Args:
        flip: mirror with probability 1/2.
        sides: what happens to captions that say left or right (or 左, 右) of a mirror image: swap
            exchanges the words, keep never mirrors an image with such a caption.
        min_scale: the smallest part of the area that a random crop keeps, in (0, 1].
        max_ratio: how much a crop may change the proportions, at least 1.
        brightness, contrast, saturation: each is multiplied by a factor drawn from [1 - x, 1 + x].
        random_operations: how many of RandAugment's operations are applied (Cubuk et al. 2020), 0
            for none; magnitude: how strongly, from 0 to 30.
        mixup: mixes images of a batch, by shares drawn from Beta(mixup, mixup) (Zhang et al. 2018),
            0 for none; 0.2 is usual.
    """

    flip: bool = True
    sides: Sides = "swap"
    min_scale: float = 0.7
    max_ratio: float = 1.2
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    random_operations: int = 0
    magnitude: int = 9
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if self.sides not in get_args(Sides):
            hint = did_you_mean(str(self.sides), get_args(Sides))
            raise UserError(f"data.augment.sides={self.sides!r}: {hint}")
        if self.random_operations < 0 or not 0 <= self.magnitude <= 30:
            raise UserError(
                f"data.augment.random_operations={self.random_operations} must not be negative, and "
                f"data.augment.magnitude={self.magnitude} must be from 0 to 30"
            )
        if not self.mixup >= 0:
            raise UserError(f"data.augment.mixup={self.mixup} must not be negative")
        if not 0 < self.min_scale <= 1:
            raise UserError(f"data.augment.min_scale={self.min_scale} must be in (0, 1]")
        if self.max_ratio < 1:
            raise UserError(f"data.augment.max_ratio={self.max_ratio} must be at least 1")
        for key in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, key) <= 1:
                raise UserError(f"data.augment.{key}={getattr(self, key)} must be in [0, 1]")

    def __call__(
        self, image: Tensor, captions: Sequence[str] = (), generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a variant (3,h',w') uint8 of an image (3,h,w); no `generator`: torch's own."""
        return self.vary(image, captions, generator)[0]

    def vary(
        self, image: Tensor, captions: Sequence[str] = (), generator: torch.Generator | None = None
    ) -> tuple[Tensor, bool]:
        """Return a variant of an image, and whether its captions' sides must be swapped."""
        # always eight draws, so that switching one change off leaves the others as they were
        draws = torch.rand(8, generator=generator).tolist()
        image = self._crop(image, draws[:4])
        sided = any(map(SIDES.search, captions))
        mirrored = self.flip and draws[4] < 0.5 and (self.sides == "swap" or not sided)
        if mirrored:
            image = _torchvision().horizontal_flip_image(image)
        strengths = (self.brightness, self.contrast, self.saturation)
        if any(strengths):
            factors = [1 + x * (2 * draw - 1) for x, draw in zip(strengths, draws[5:], strict=True)]
            image = _recolor(image, *factors)
        if self.random_operations:
            from torchvision.transforms.v2 import RandAugment  # as in _torchvision

            operations = RandAugment(num_ops=self.random_operations, magnitude=self.magnitude)
            image = operations(image.contiguous())
        return image, mirrored and sided

    def _crop(self, image: Tensor, draws: list[float]) -> Tensor:
        scale = self.min_scale + (1 - self.min_scale) * draws[0]
        stretch = math.exp(math.log(self.max_ratio) * (draws[1] - 0.5))
        height, width = image.shape[1:]
        h = max(1, min(height, round(height * math.sqrt(scale) * stretch)))
        w = max(1, min(width, round(width * math.sqrt(scale) / stretch)))
        top, left = round((height - h) * draws[2]), round((width - w) * draws[3])
        cropped: Tensor = _torchvision().crop_image(image, top, left, h, w)
        return cropped


def swap_sides(caption: str) -> str:
    """Return a caption as it would be said of the mirror image: left for right, with its case."""

    def other(match: re.Match[str]) -> str:
        side = match.group()
        swapped = OTHER_SIDE[side.lower()]
        return swapped.capitalize() if side[0].isupper() else swapped

    return SIDES.sub(other, caption)


def _torchvision() -> ModuleType:
    """Return torchvision's functions of images; the import takes its time, and only Augment needs it."""
    from torchvision.transforms.v2 import functional

    return functional


def _recolor(image: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    # not torchvision's, which changes one color property after another: that takes twice the time
    # all three are linear in a pixel's color p, so one product with a 3x3 matrix does them:
    # p -> brightness p; p -> mean + contrast (p - mean); p -> gray(p) + saturation (p - gray(p))
    luma = torch.tensor([0.299, 0.587, 0.114])
    pixels = image.permute(1, 2, 0).reshape(-1, 3).float()
    mean = brightness * (pixels.mean(0) @ luma)
    matrix = saturation * torch.eye(3) + (1 - saturation) * luma
    pixels = torch.addmm((1 - contrast) * mean.expand(3), pixels, contrast * brightness * matrix.T)
    pixels = pixels.round_().clamp_(0, 255).to(torch.uint8)
    return pixels.reshape(*image.shape[1:], 3).permute(2, 0, 1)
