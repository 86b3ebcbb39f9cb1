"""Captions laid out step by step with most of their padding left out, so that a loop does less.

Legend: B images, K captions an image, T tokens, N memory slots, M rows kept, in all steps together.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Packing:
    """The order in which a loop over T visits captions: longest first, and only while they last.

    Images are sorted by their longest caption, captions by length within their image; step t then
    keeps the first b images and the first k captions of each, ``step_shapes[t] == (b, k)``, so that it
    is a plain (b, k, ...) tensor and the kept part of an image's memory is a slice. On Flickr8k's
    captions about 20 % of the rows are padding; without sorting it is half of them.
    ``tokens`` (B, K, T) hold ``pad_id`` after the end of a caption.
    """

    def __init__(self, tokens: Tensor, pad_id: int) -> None:
        self.shape = tokens.shape
        lengths = (tokens != pad_id).sum(-1)
        self.images = lengths.amax(dim=1).argsort(descending=True, stable=True)
        lengths, order = lengths[self.images].sort(dim=1, descending=True, stable=True)
        by_image, by_rank = lengths[:, 0].tolist(), lengths.amax(dim=0).tolist()
        # a batch without any token still makes one step, so that it is no special case
        steps = range(max(1, by_image[0]))
        self.step_shapes = [
            (max(1, sum(n > step for n in by_image)), max(1, sum(n > step for n in by_rank)))
            for step in steps
        ]
        self._positions = self._places(order)

    def _places(self, order: Tensor) -> Tensor:
        images, captions, length = self.shape
        device = order.device
        first = (self.images.unsqueeze(1) * captions + order) * length
        step = torch.arange(len(self.step_shapes), device=device)[:, None, None]
        kept = torch.tensor(self.step_shapes, device=device)[:, :, None, None]
        image = torch.arange(images, device=device).unsqueeze(1)
        rank = torch.arange(captions, device=device)
        return (first + step)[(image < kept[:, 0]) & (rank < kept[:, 1])]

    @property
    def step_counts(self) -> list[int]:
        """The number of rows of each step; they sum to M."""
        return [images * captions for images, captions in self.step_shapes]

    def pack(self, values: Tensor) -> Tensor:
        """Return the kept rows (M, ...) of ``values`` (B, K, T, ...)."""
        return values.flatten(0, 2)[self._positions]

    def unpack(self, rows: Tensor) -> Tensor:
        """Return ``rows`` (M, ...) in their places (B, K, T, ...), zero where no row was kept."""
        places = rows.new_zeros(self.shape.numel(), *rows.shape[1:])
        return places.index_copy(0, self._positions, rows).unflatten(0, self.shape)
