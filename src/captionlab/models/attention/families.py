"""Multi-head attention, attention on attention, a visual sentinel, hard attention.

Legend as in ``captionlab.models.attention.base``: B images, Q queries, N slots, D memory width, H query
width, A attention width; h heads, d = H / h.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import (
    AdditiveAttention,
    Attention,
    doubled_exponential,
    real_softmax,
)


class MultiHeadAttention(Attention):
    """Multi-head scaled dot products with projected values (Vaswani et al. 2017, section 3.2.2).

    The context is as wide as the query; the weights are the heads' mean. Raises UserError where
    the query's width does not divide into heads.
    """

    def __init__(
        self,
        heads: int = 8,
        *,
        dropout: float = 0.0,
        doubly_stochastic: float = 0.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        if heads < 1 or query_dim % heads:
            raise UserError(f"hidden={query_dim} cannot be divided into heads={heads}")
        super().__init__(
            query_dim,
            doubly_stochastic=doubly_stochastic,
            query_dim=query_dim,
            memory_dim=memory_dim,
        )
        self.heads = heads
        self.context_dim = query_dim
        self.key = nn.Linear(memory_dim, query_dim)
        self.value = nn.Linear(memory_dim, query_dim)
        self.output = nn.Linear(query_dim, query_dim)
        self.dropout = nn.Dropout(dropout)

    def keys(self, memory: Memory) -> Any:
        """Return keys and values, each (B, h, N, d)."""
        self.require(memory)
        return self._split(self.key(memory.slots)), self._split(self.value(memory.slots))

    def scores(self, query: Tensor, keys: Any) -> Tensor:
        """Return each head's scaled dot products (B, h, Q, N)."""
        split = self._split(self.query(query)) / math.sqrt(keys[0].shape[-1])
        return split @ keys[0].transpose(-2, -1)

    def forward(self, query: Tensor, keys: Any, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return contexts (B, Q, H) and weights (B, Q, N) of queries (B, Q, H)."""
        scores = self.scores(query, keys)
        weights = scores.masked_fill(~memory.mask[:, None, None], -math.inf).softmax(-1)
        found = self.dropout(weights).to(keys[1].dtype) @ keys[1]
        return self.read(query, found.transpose(1, 2).flatten(2)), weights.mean(1)

    def read(self, query: Tensor, found: Tensor) -> Tensor:
        """Return the context (B, Q, H) of what the heads found (B, Q, H)."""
        return self.output(found)

    def _split(self, inputs: Tensor) -> Tensor:
        return inputs.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AttentionOnAttention(MultiHeadAttention):
    """What multi-head attention found, with the query, through a gate of both (AoA).

    Huang et al. 2019, equations 3 to 6: I = W [q; v] + b, G = sigmoid(W' [q; v] + b'), I * G.
    """

    def __init__(
        self,
        heads: int = 8,
        *,
        dropout: float = 0.0,
        doubly_stochastic: float = 0.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            heads,
            dropout=dropout,
            doubly_stochastic=doubly_stochastic,
            query_dim=query_dim,
            memory_dim=memory_dim,
        )
        # information and gate in one product; the paper's heads have no output layer of their own
        self.output = nn.Linear(2 * query_dim, 2 * query_dim)

    def read(self, query: Tensor, found: Tensor) -> Tensor:
        """Return information times gate (B, Q, H)."""
        return nn.functional.glu(self.output(torch.cat([query, found], -1)))


class AdaptiveAttention(AdditiveAttention):
    """Additive attention that may look at a visual sentinel instead of the image.

    Lu et al. 2017, equations 6 to 13. The image's slots are brought to the query's width first;
    the weights (B, Q, N) are those of the image and sum to 1 - beta, the sentinel's share being
    beta. Only a decoder that makes a sentinel (model/decoder=adaptive) can use it.
    """

    def __init__(
        self,
        width: int | None = None,
        *,
        doubly_stochastic: float = 0.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            width,
            doubly_stochastic=doubly_stochastic,
            query_dim=query_dim,
            memory_dim=query_dim,
        )
        self.memory_dim = memory_dim
        self.context_dim = query_dim
        self.value = nn.Linear(memory_dim, query_dim)
        self.sentinel = nn.Linear(query_dim, self.key.out_features, bias=False)

    def keys(self, memory: Memory) -> Any:
        """Return exp(2 W_v v) (B, N, A) and the values v = relu(W_a slot) (B, N, H)."""
        self.require(memory)
        values = self.value(memory.slots).relu()
        return doubled_exponential(self.key(values)), values

    def look(
        self, query: Tensor, keys: Any, memory: Memory, sentinel: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return contexts (B, Q, H) and the image's weights, given sentinels (B, Q, H)."""
        asked = self.query(query)
        scores = self.scores(query, keys[0])
        # the same constant as in additive_scores is left out: sum_a score[a]
        own = ((self.sentinel(sentinel) + asked).tanh() - 1) @ self.score.to(asked.dtype)
        masked = scores.masked_fill(~memory.mask.unsqueeze(1), -math.inf)
        weights = torch.cat([masked, own.to(scores.dtype).unsqueeze(-1)], -1).softmax(-1)
        image, beta = weights[..., :-1], weights[..., -1:]
        context = torch.bmm(image.to(keys[1].dtype), keys[1]) + beta.to(sentinel.dtype) * sentinel
        return context, image


class HardAttention(AdditiveAttention):
    """Attention that looks at one slot, drawn from the softmax (Xu et al. 2015, section 4.1).

    In training a share ``expected`` of the images, drawn anew in each pass, get the expectation
    instead, which steadies the estimator (the end of section 4.1); in evaluation the most probable
    slot is taken.
    The weights are the softmax's, so that pictures and penalties mean the same as elsewhere. Its
    gradient needs objective=hard_attention: cross-entropy does not teach it where to look.
    """

    def __init__(
        self,
        width: int | None = None,
        *,
        expected: float = 0.5,
        doubly_stochastic: float = 0.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        if not 0 <= expected <= 1:
            raise UserError(f"expected={expected} is a share of the images, from 0 to 1")
        super().__init__(
            width,
            doubly_stochastic=doubly_stochastic,
            query_dim=query_dim,
            memory_dim=memory_dim,
        )
        self.expected = expected

    def keys(self, memory: Memory) -> Any:
        """Return exp(2 U slot) (B, N, A), and which images (B,) get the expectation."""
        keys = super().keys(memory)
        soft = torch.rand(len(keys), device=keys.device) < self.expected
        return keys, soft if self.training else torch.zeros_like(soft)

    def forward(  # type: ignore[override]
        self, query: Tensor, keys: Any, memory: Memory
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return contexts (B, Q, D), weights (B, Q, N) and the slots (B, Q), -1 for expectation."""
        keys, soft = keys
        weights = real_softmax(self.scores(query, keys), memory)
        if self.training:
            flat = weights.detach().float().flatten(0, 1)
            choice = torch.multinomial(flat, 1).view(weights.shape[:2])
        else:
            choice = weights.argmax(-1)
        # (B, N, D) is read in place: no slot is copied for queries that do not choose it
        hard = memory.slots.gather(1, choice.unsqueeze(-1).expand(-1, -1, memory.slots.shape[-1]))
        expected = torch.bmm(weights.to(memory.slots.dtype), memory.slots)
        context = torch.where(soft[:, None, None], expected, hard)
        return context, weights, choice.masked_fill(soft[:, None], -1)
