"""Where a model looked, laid on the picture: a grid over what the encoder saw, or boxes.

Legend: T words, N memory slots, n x m cells of a map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.data.dataset import CaptionDataset
from captionlab.data.features.store import FeatureStore
from captionlab.data.images.prepare import Box, frame

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
BOX_MAP_SIDE = 48  # a side of the map that boxes are drawn into


@dataclass(frozen=True)
class AttentionMaps:
    """Maps (T,n,m), not negative, and where they lie on the picture.

    ``frame``: left, top, right, bottom as shares of the picture's width and height; what reaches
    beyond it is padding. ``boxes`` (T,4): the region with the largest weight, where slots are
    regions.
    """

    maps: Tensor
    frame: Box = WHOLE
    boxes: Tensor | None = None


def attention_maps_of(
    dataset: CaptionDataset, index: int, size: tuple[int, int], weights: Tensor
) -> AttentionMaps | str:
    """Return attention over an item's memory slots as maps, or in words why it cannot be shown.

    Args:
        size: height and width of the picture that the maps are for.
        weights: (T,N); slots that only pad the item in its batch come last.
    """
    features, fit = dataset.features, dataset.fit
    image_id = dataset.records[index].stored_id
    if isinstance(features, FeatureStore):
        weights, fit = weights[:, : features.count_slots(image_id)], features.fit
    elif features is not None:
        memory = features.read(image_id)
        if memory.boxes is None:
            return f"{features.path} tells no boxes, so where its regions are is not known"
        return over_boxes(weights[:, : len(memory.mask)], memory.boxes)
    slots = weights.shape[-1]
    side = math.isqrt(slots)
    if side < 2 or side**2 != slots:
        return (
            f"where the encoder's {slots} memory slots are is not known: they form no square grid"
        )
    grid = weights.unflatten(-1, (side, side))
    return without_padding(AttentionMaps(grid, frame(*size, dataset.image_size, fit)))


def without_padding(attention: AttentionMaps) -> AttentionMaps:
    """Return maps without the rows and columns that lie beyond the picture altogether.

    How bright a cell is shown follows from the largest, which has to be one that is shown.
    """
    left, top, right, bottom = attention.frame
    rows, columns = attention.maps.shape[-2:]
    first, last, left, right = _within(left, right, columns)
    upper, lower, top, bottom = _within(top, bottom, rows)
    maps = attention.maps[..., upper:lower, first:last]
    return AttentionMaps(maps, (left, top, right, bottom), attention.boxes)


def _within(start: float, end: float, cells: int) -> tuple[int, int, float, float]:
    """Return the first cell that touches 0..1, the one behind the last, and where they lie."""
    each = (end - start) / cells
    first = max(0, math.floor(-start / each + 1e-6))
    last = min(cells, math.ceil((1 - start) / each - 1e-6))
    if (first, last) == (0, cells):
        return first, last, start, end
    return first, last, start + first * each, start + last * each


def over_boxes(weights: Tensor, boxes: Tensor) -> AttentionMaps:
    """Return maps of weights (T,N) over boxes (N,4): each cell has the largest that covers it."""
    maps = weights.new_zeros(len(weights), BOX_MAP_SIDE, BOX_MAP_SIDE)
    first = (boxes[:, :2] * BOX_MAP_SIDE).floor().clamp(0, BOX_MAP_SIDE - 1).int()
    last = torch.maximum(
        (boxes[:, 2:] * BOX_MAP_SIDE).ceil().clamp(max=BOX_MAP_SIDE).int(), first + 1
    )
    for number, ((left, top), (right, bottom)) in enumerate(
        zip(first.tolist(), last.tolist(), strict=True)
    ):
        part = maps[:, top:bottom, left:right]
        torch.maximum(part, weights[:, number, None, None], out=part)
    return AttentionMaps(maps, WHOLE, boxes[weights.argmax(-1)])
