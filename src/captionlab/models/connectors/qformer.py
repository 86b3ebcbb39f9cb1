"""The Q-Former: learned queries that read an image's slots, however many there are.

Legend: B images, N memory slots, Q queries, D width of the encoder's slots, P of its pooled vector,
W width of both behind the connector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.connectors.linear import projection
from captionlab.models.decoders.transformer.layers import FeedForward, Residual, multi_head


class QueryLayer(nn.Module):
    """Self-attention of the queries, attention to the slots, feed-forward, each behind its norm."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = multi_head(width, heads, dropout=dropout)
        self.around_self = Residual(width, dropout, "pre")
        self.cross_attention = multi_head(width, heads, dropout=dropout)
        self.around_cross = Residual(width, dropout, "pre")
        self.feed_forward = FeedForward(width, inner, dropout)
        self.around_feed_forward = Residual(width, dropout, "pre")

    def forward(self, queries: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
        """Return queries (B, Q, W) of queries (B, Q, W) and slots (B, N, W) with their mask (B, N)."""
        inputs = self.around_self.before(queries)
        attended = self.self_attention.attend(inputs, self.self_attention.project(inputs))
        queries = self.around_self.after(queries, attended)
        inputs = self.around_cross.before(queries)
        projected = self.cross_attention.project(slots)
        seen = self.cross_attention.attend(inputs, projected, mask=mask)
        queries = self.around_cross.after(queries, seen)
        inner = self.feed_forward(self.around_feed_forward.before(queries))
        return self.around_feed_forward.after(queries, inner)


class Queries(nn.Module):
    """Learned queries and the layers in which they read slots; all that becomes the new slots."""

    def __init__(
        self,
        number: int,
        width: int,
        *,
        layers: int,
        heads: int,
        inner: int,
        dropout: float,
        memory_dim: int,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(number, width) * width**-0.5)
        self.slots = nn.Sequential(nn.Linear(memory_dim, width), nn.LayerNorm(width))
        stack = nn.ModuleList(QueryLayer(width, heads, inner, dropout) for _ in range(layers))
        self.layers = cast("Sequence[QueryLayer]", stack)
        self.norm = nn.LayerNorm(width)

    def forward(self, slots: Tensor, mask: Tensor) -> Tensor:
        """Return (B, Q, W) of slots (B, N, D) and their mask (B, N)."""
        projected = self.slots(slots)
        queries = self.queries.expand(slots.shape[0], -1, -1)
        for layer in self.layers:
            queries = layer(queries, projected, mask)
        return self.norm(queries)


class QFormerConnector(nn.Module):
    """Turns a memory of any number of slots into one of ``num_queries`` slots of ``width``.

    The query Transformer of BLIP-2 (Li et al. 2023, section 3.1) between any encoder and any
    decoder: learned queries attend to each other and to the image's real slots in ``layers``
    layers, here all of them with attention to the image, normed before each block and begun with
    random weights. The pooled vector is projected beside them, as by ``LinearConnector``. At build
    time come ``memory_dim`` and ``pooled_dim`` (None: the same), the widths of the encoder's memory.
    Raises UserError for sizes below 1, a ``dropout`` that is no probability, and ``heads`` that do
    not divide ``width``.
    """

    def __init__(
        self,
        *,
        num_queries: int = 32,
        width: int = 512,
        layers: int = 2,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        memory_dim: int,
        pooled_dim: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "num_queries": num_queries,
            "width": width,
            "layers": layers,
            "heads": heads,
            "feed_forward": feed_forward,
        }
        for name, size in sizes.items():
            if size < 1:
                raise UserError(f"model.connector.{name}={size} must be at least 1.")
        if width % heads:
            raise UserError(
                f"model.connector.heads={heads} does not divide model.connector.width={width}."
            )
        if not 0 <= dropout < 1:
            raise UserError(f"model.connector.dropout={dropout} must lie in [0, 1).")
        self.dim = width
        self.memory_dim = memory_dim
        self.slots = Queries(
            num_queries,
            width,
            layers=layers,
            heads=heads,
            inner=feed_forward,
            dropout=dropout,
            memory_dim=memory_dim,
        )
        self.pooled = projection(memory_dim if pooled_dim is None else pooled_dim, width, dropout)

    def forward(self, memory: Memory) -> Memory:
        """Return slots (B, Q, W), all of them real, and pooled (B, W) of slots (B, N, D) and (B, P).

        Raises:
            UserError: for a memory of another width, and for an image without a real slot.
        """
        memory.require_width(self.memory_dim, "connector")
        memory.require_real_slots()
        slots = self.slots(memory.slots, memory.mask)
        # queries are no regions: they have no boxes
        return replace(
            memory,
            slots=slots,
            pooled=self.pooled(memory.pooled),
            mask=memory.mask.new_ones(slots.shape[:2]),
            boxes=None,
        )
