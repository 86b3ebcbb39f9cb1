"""Occlusion by random masks, for any model: what happens to a word where a part cannot be seen.

Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models".

M masks, W words, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

GRAY = 127  # in place of what cannot be seen, as data.blank_images has it
CELLS = 7  # a side of the grid that a mask is drawn on (RISE, section 4)
SEEN = 0.5  # the share that a mask leaves


def occluded(picture: Tensor, visible: Tensor) -> Tensor:
    """Return uint8 pictures (M,3,S,S): ``picture`` (3,S,S) uint8 as far as ``visible`` (M,S,S) is 1."""
    shown = GRAY + (picture.float() - GRAY) * visible[:, None]
    return shown.round().clamp(0, 255).to(torch.uint8)


def random_masks(
    count: int, size: int, *, batch: int, generator: torch.Generator, cells: int = CELLS
) -> Iterator[Tensor]:
    """Yield ``count`` masks (M,S,S) in [0, 1], ``batch`` at a time.

    Each is a random grid, enlarged smoothly and moved by a random part of a cell (RISE, section 3.2).
    """
    cell = -(-size // cells)
    for start in range(0, count, batch):
        number = min(batch, count - start)
        grid = torch.rand(number, 1, cells + 1, cells + 1, generator=generator) < SEEN
        large = F.interpolate(
            grid.float(), size=(cell * (cells + 1),) * 2, mode="bilinear", align_corners=False
        )
        shifts = torch.randint(cell, (number, 2), generator=generator).tolist()
        moved = [
            mask[0, top : top + size, left : left + size]
            for mask, (top, left) in zip(large, shifts, strict=True)
        ]
        yield torch.stack(moved).clamp(0, 1)  # what enlarges rounds


@torch.no_grad()
def occlusion_maps(
    score: Callable[[Tensor], Tensor],
    picture: Tensor,
    *,
    masks: int,
    seed: int = 0,
    batch: int = 32,
    cells: int = CELLS,
) -> Tensor:
    """Return how much each pixel's being seen adds to each score (W,S,S), in the scores' units.

    That is the slope of the score over the mask's value at the pixel, covariance over variance: RISE's
    sum of masks, freed from the mean score, which would add to every pixel alike. Memory is bounded by
    ``batch``, whatever the number of masks.

    Args:
        score: pictures (B,3,S,S) uint8 -> scores (B,W). picture: (3,S,S) uint8.
    """
    size = picture.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    total: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        total[name] = total[name] + value if name in total else value

    for visible in random_masks(masks, size, batch=batch, generator=generator, cells=cells):
        scores = score(occluded(picture, visible)).double().cpu()
        seen = visible.double()
        add("score", scores.sum(0))
        add("seen", seen.sum(0))
        add("square", seen.square().sum(0))
        add("both", torch.einsum("mw,mxy->wxy", scores, seen))
    mean, seen = total["score"] / masks, total["seen"] / masks
    variance = (total["square"] / masks - seen.square()).clamp_min(1e-6)
    return ((total["both"] / masks - mean[:, None, None] * seen) / variance).float()
