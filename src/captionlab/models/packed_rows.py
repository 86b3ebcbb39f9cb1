"""The real tokens of a batch of captions as rows, so that layers compute no padding.

Legend: B images, K captions an image, T tokens, M real tokens of a batch, R rows of a layout (B K
captions, or B images with the words of all their captions), Q places of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor


class PackedRows:
    """The order in which layers compute the real tokens of captions of ``shape`` (B, K, T).

    ``positions`` (M,) are the places of the rows, None where every place is one: then nothing is copied.
    """

    def __init__(self, shape: torch.Size, positions: Tensor | None = None) -> None:
        self.shape = shape
        self.positions = positions

    @classmethod
    def of(cls, tokens: Tensor, pad_id: int) -> PackedRows:
        """Return the rows of tokens (B, K, T) that are not ``pad_id``.

        In a program that is exported, which has shapes and no values, all are rows.
        """
        if torch.compiler.is_exporting():
            return cls(tokens.shape)
        positions = (tokens != pad_id).flatten().nonzero().squeeze(1)
        return cls(tokens.shape, None if len(positions) == tokens.numel() else positions)

    def pack(self, values: Tensor) -> Tensor:
        """Return rows (M, H) of values (R, Q, H) or (B, K, T, H), whose places are in that order."""
        rows = values.flatten(0, -2)
        return rows if self.positions is None else rows.index_select(0, self.positions)

    def unpack(self, rows: Tensor, count: int) -> Tensor:
        """Return values (R, Q, H) of rows (M, H) for R = ``count``, 0 at padding."""
        if self.positions is not None:
            places = rows.new_zeros(self.shape.numel(), rows.shape[-1])
            rows = places.index_copy_(0, self.positions, rows)
        return rows.view(count, -1, rows.shape[-1])
