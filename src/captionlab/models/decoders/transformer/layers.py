"""The blocks of Transformer captioners: attention, feed-forward, positions, layers.

Legend: B images, K captions an image, Q queries, N memory slots, T tokens, H width, h heads,
d = H / h.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean

Norm = Literal["pre", "post"]
Positions = Literal["learned", "sinusoidal"]
KeysValues = tuple[Tensor, Tensor]


class MultiHead(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2).

    Keys and values are projected by ``project`` apart from the queries, so that an image's are
    made once for all its captions and steps. ``memory_slots`` learned keys and values stand behind
    those of the input (Cornia et al. 2020, equation 3). Raises UserError where the width does not
    divide into heads.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0, memory_slots: int = 0):
        super().__init__()
        if heads < 1 or width % heads:
            raise UserError(f"hidden={width} cannot be divided into heads={heads}")
        self.heads = heads
        self.dropout = dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.memory_keys = self.memory_values = None
        if memory_slots:
            size = width // heads
            # the deviations of the paper's code: 1/d for keys, 1/m for values
            self.memory_keys = nn.Parameter(torch.randn(heads, memory_slots, size) / size)
            self.memory_values = nn.Parameter(torch.randn(heads, memory_slots, size) / memory_slots)

    def project(self, inputs: Tensor) -> KeysValues:
        """Return keys and values (R, h, N, d) of inputs (R, N, H), the learned ones at the end."""
        keys, values = self._split(self.key(inputs)), self._split(self.value(inputs))
        if self.memory_keys is not None and self.memory_values is not None:
            rows = len(inputs)
            # sqrt(d) and sqrt(m) undo the small deviations, as in the paper's code
            size, slots = self.memory_keys.shape[-1], self.memory_keys.shape[-2]
            more_keys = (self.memory_keys * math.sqrt(size)).expand(rows, -1, -1, -1)
            more_values = (self.memory_values * math.sqrt(slots)).expand(rows, -1, -1, -1)
            keys = torch.cat([keys, more_keys.to(keys.dtype)], 2)
            values = torch.cat([values, more_values.to(values.dtype)], 2)
        return keys, values

    def forward(
        self,
        queries: Tensor,
        projected: KeysValues,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Return (R, Q, H) from queries (R, Q, H) and projected keys and values (R, h, N, d).

        ``mask`` (R, N) is True where a key may be seen; learned slots are always seen.
        """
        keys, values = projected
        found = F.scaled_dot_product_attention(
            self._split(self.query(queries)),
            keys,
            values,
            attn_mask=self._wide(mask, keys),
            is_causal=causal,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self._join(found)

    def look(
        self, queries: Tensor, projected: KeysValues, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what ``forward`` does, and the weights (R, Q, N) averaged over the heads."""
        keys, values = projected
        query = self._split(self.query(queries)) / math.sqrt(keys.shape[-1])
        scores = query @ keys.transpose(-2, -1)
        wide = self._wide(mask, keys)
        if wide is not None:
            scores = scores.masked_fill(~wide, -math.inf)
        weights = scores.softmax(-1)
        kept = F.dropout(weights, self.dropout, self.training)
        return self._join(kept.to(values.dtype) @ values), weights.mean(1)

    def _wide(self, mask: Tensor | None, keys: Tensor) -> Tensor | None:
        if mask is None:
            return None
        return F.pad(mask, (0, keys.shape[2] - mask.shape[1]), value=True)[:, None, None]

    def _split(self, inputs: Tensor) -> Tensor:
        return inputs.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _join(self, heads: Tensor) -> Tensor:
        return self.output(heads.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between (Vaswani et al. 2017, equation 2)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, width)
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
        self.dropout = nn.Dropout(dropout)
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
        self.attention = MultiHead(width, heads, dropout=dropout, memory_slots=memory_slots)
        self.around_attention = Residual(width, dropout, norm)
        self.feed_forward = FeedForward(width, inner, dropout)
        self.around_feed_forward = Residual(width, dropout, norm)

    def forward(self, slots: Tensor, mask: Tensor) -> Tensor:
        """Return slots (B, N, H) of slots (B, N, H); mask (B, N) is True for real ones."""
        seen = self.around_attention.before(slots)
        found = self.attention(seen, self.attention.project(seen), mask=mask)
        slots = self.around_attention.after(slots, found)
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
                f"a caption of {first + count} tokens is longer than "
                f"model.decoder.max_length={len(self.table)}: raise it, or lower data.max_length "
                "or decoding.max_length"
            )
        return self.table[first : first + count]


def sinusoids(length: int, width: int) -> Tensor:
    """Return (length, H): sines of the place at even columns, cosines at odd ones."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]
