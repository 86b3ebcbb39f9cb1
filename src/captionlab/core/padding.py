"""The bars that bring an image to a square (``data.fit=pad``): their color, and where they are.

Legend: B images, h x w pixels, N memory slots, the cells of a square grid.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError

# ImageNet's mean color, which the encoders' normalization turns into zeros
PADDING = (124, 116, 104)


def cells_of_picture(images: Tensor, slots: int) -> Tensor:
    """Return (B, N) True where a cell of the grid shows a part of the picture, however small.

    Bars are read off the images, so that whoever prepares them need not tell: rows from the top and
    the bottom, columns from the left and the right that are of ``PADDING``'s color from end to end.
    An image of nothing else has no bars.

    Args:
        images: (B, 3, h, w) uint8, or floats in [0, 1].

    Raises:
        UserError: if ``slots`` are no square grid.
    """
    side = math.isqrt(slots)
    if side**2 != slots:
        raise UserError(
            f"model.encoder.mask_padding=true: where this encoder's {slots} memory slots are is not "
            "known, for they form no square grid; leave it false"
        )
    levels = images if images.dtype == torch.uint8 else (images * 255).round()
    color = torch.tensor(PADDING, dtype=levels.dtype, device=levels.device)
    bar = (levels == color[:, None, None]).all(1)
    rows, columns = (F.adaptive_max_pool1d(_inside(bar.all(dim)), side) for dim in (2, 1))
    return (rows.unsqueeze(2) * columns.unsqueeze(1)).flatten(1).bool()


def _inside(bar: Tensor) -> Tensor:
    """Return (B, n) 1.0 where no bar is that begins at an end; all, where all is bar."""
    picture = (~bar).int()
    # counts, not products: torch exports no product of integers to ONNX
    inside = (picture.cumsum(1) > 0) & (picture.flip(1).cumsum(1).flip(1) > 0)
    return (inside | ~inside.any(1, keepdim=True)).float()
