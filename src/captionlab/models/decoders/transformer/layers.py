"""The blocks of Transformer captioners: attention, feed-forward, positions, layers.

Legend: B images, K captions an image, Q queries, N memory slots, T tokens, H width, h heads,
d = H / h.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.models.attention.multi_head import MultiHeadAttention
from captionlab.models.dropout import Dropout

Norm = Literal["pre", "post"]
Positions = Literal["learned", "sinusoidal"]


def multi_head(
    width: int, heads: int, *, dropout: float = 0.0, memory_slots: int = 0
) -> MultiHeadAttention:
    """Return multi-head attention as Transformers begin with it: Xavier weights, no biases."""
    attention = MultiHeadAttention(
        heads, dropout=dropout, memory_slots=memory_slots, query_dim=width, memory_dim=width
    )
    for layer in (attention.query, attention.key, attention.value, attention.output):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return attention


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between (Vaswani et al. 2017, equation 2)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(width, inner),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            nn.Linear(inner, width),
        )
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


class Residual(nn.Module):
    """The way around a block: x + block(norm(x)) for norm=pre, norm(x + block(x)) for norm=post."""

    def __init__(self, width: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        if norm not in get_args(Norm):
            raise UserError(f"norm={norm!r}: {did_you_mean(str(norm), get_args(Norm))}")
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.first = norm == "pre"

    def before(self, x: Tensor) -> Tensor:
        """Return what the block reads."""
        return self.norm(x) if self.first else x

    def after(self, x: Tensor, block: Tensor) -> Tensor:
        """Return the sum of input and block's output."""
        x = x + self.dropout(block)
        return x if self.first else self.norm(x)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward over the slots of the memory."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        inner: int,
        dropout: float,
        norm: Norm,
        memory_slots: int = 0,
    ) -> None:
        super().__init__()
        self.attention = multi_head(width, heads, dropout=dropout, memory_slots=memory_slots)
        self.around_attention = Residual(width, dropout, norm)
        self.feed_forward = FeedForward(width, inner, dropout)
        self.around_feed_forward = Residual(width, dropout, norm)

    def forward(self, slots: Tensor, mask: Tensor | None) -> Tensor:
        """Return slots (B, N, H) of slots (B, N, H); mask (B, N) is True for real ones, None: all."""
        inputs = self.around_attention.before(slots)
        attended = self.attention.attend(inputs, self.attention.project(inputs), mask=mask)
        slots = self.around_attention.after(slots, attended)
        inner = self.feed_forward(self.around_feed_forward.before(slots))
        return self.around_feed_forward.after(slots, inner)


class PositionTable(nn.Module):
    """A vector for each place of a caption: learned, or sines (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, kind: Positions, length: int, width: int) -> None:
        super().__init__()
        if kind not in get_args(Positions):
            raise UserError(f"positions={kind!r}: {did_you_mean(str(kind), get_args(Positions))}")
        if kind == "learned":
            self.table = nn.Parameter(torch.randn(length, width) * 0.02)
        else:
            self.register_buffer("table", sinusoids(length, width), persistent=False)

    def forward(self, first: int, count: int) -> Tensor:
        """Return the vectors (count, H) of the places from ``first`` on.

        Raises UserError for a caption longer than the table.
        """
        if first + count > len(self.table):
            raise UserError(
                f"a caption of {first + count} tokens, its prompt counted, is longer than "
                f"model.decoder.max_length={len(self.table)}: raise it, or lower data.max_length "
                "or decoding.max_length"
            )
        return self.table[first : first + count]


def sinusoids(length: int, width: int) -> Tensor:
    """Return (length, H): sines of the place at even columns, cosines at odd ones."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
