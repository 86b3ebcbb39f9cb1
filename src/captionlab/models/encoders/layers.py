"""Which layers of a network a memory reads, and which vector stands for the whole image.

Legend: B images, N memory slots, h x w a grid, D memory width, P width of the pooled vector.

Several layers are read together as hypercolumns (Hariharan et al. 2015): maps of finer grids are
averaged down to the grid of the deepest layer that is read, and channels are concatenated, so that a
memory keeps one grid.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean

KEY = "model.encoder.layers"
POOLED_KEY = "model.encoder.pooled"
LAST = (-1,)
# an early stage of a large image has more cells than any attention or graphics card can take
MOST_SLOTS = 128 * 128

Pooled = Literal["mean", "token", "projection"]


def layer_indices(layers: Sequence[int] | None, count: int, where: str) -> tuple[int, ...]:
    """Return layers as indices from the end (-1 is the last), in the given order.

    Args:
        layers: indices from the front or from the end, as Python counts; None for the last.
        count: how many layers there are. where: what has them, for messages.

    Raises:
        UserError: for no layer, one that does not exist, and one that is named twice.
    """
    if layers is None:
        return LAST
    has = f"{where} has {count} layers, 0 to {count - 1} or -{count} to -1"
    value = str(list(layers))[:60]
    if not layers:
        raise UserError(f"{KEY}=[] reads no layer: {has}, and null stands for the last")
    outside = [layer for layer in layers if not -count <= layer < count]
    if outside:
        raise UserError(f"{KEY}={value}: there is no layer {outside[0]}, {has}")
    indices = tuple(layer if layer < 0 else layer - count for layer in layers)
    twice = next((layer for layer in indices if indices.count(layer) > 1), None)
    if twice is not None:
        raise UserError(f"{KEY}={value} names a layer twice ({twice} and {twice + count} are one)")
    return indices


def require_trainable(trainable: str, choices: Sequence[str]) -> None:
    """Raise UserError unless ``trainable`` is one of the words for what of an encoder learns."""
    if trainable not in choices:
        hint = did_you_mean(str(trainable), choices)
        raise UserError(f"an encoder cannot be trainable={trainable!r}: {hint}")


def require_learning_is_read(indices: Sequence[int], trainable: str) -> None:
    """Raise UserError if only the last stage is to learn, and no layer that is read comes from it."""
    if trainable == "last_stage" and -1 not in indices:
        raise UserError(
            f"model.encoder.trainable=last_stage: nothing reads it with {KEY}={list(indices)}; add "
            "-1 to the layers, or say trainable=none or all"
        )


def require_offered(pooled: str | None, offered: Collection[str], where: str) -> None:
    """Raise UserError unless a network has the vector that ``pooled`` asks for."""
    if pooled is not None and pooled not in offered:
        missing = {"token": "class token", "projection": "image embedding to compare with texts"}
        raise UserError(
            f"{POOLED_KEY}={pooled}: {where} has no {missing.get(pooled, 'such vector')}; say "
            f"{POOLED_KEY}={' or '.join(offered)}, or null for its own"
        )


def require_few_slots(slots: int, indices: Sequence[int]) -> None:
    """Raise UserError for a grid of more cells than can be attended to."""
    if slots > MOST_SLOTS:
        raise UserError(
            f"{KEY}={list(indices)} gives {slots:,} slots, and {MOST_SLOTS:,} are the most: read a "
            "deeper layer beside these, to whose grid they are averaged"
        )


def join_maps(maps: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    """Return slots (B, N, D) of maps (B, d, h, w), row by row of the deepest one's grid.

    D is the sum of the widths d; ``indices`` say which layers the maps are of.
    """
    deepest = maps[max(range(len(maps)), key=lambda place: indices[place])]
    side = (deepest.shape[-2], deepest.shape[-1])
    alike = [x if x.shape[-2:] == side else F.adaptive_avg_pool2d(x, side) for x in maps]
    joined = torch.cat(alike, 1) if len(alike) > 1 else alike[0]
    return joined.flatten(2).transpose(1, 2).contiguous()
