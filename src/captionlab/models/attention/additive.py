"""Additive attention, and its gated form.

Legend as in ``captionlab.models.attention.base``: B images, Q queries, N slots, D memory width,
H query width, A attention width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.attention.additive_scores import additive_scores, share_keys
from captionlab.models.attention.base import ScoreAttention
from captionlab.models.attention.shared import Shared, share_slots

# exp(2 * 20)**2 still fits float32, and tanh has long been flat there
_LIMIT = 20.0


class AdditiveAttention(ScoreAttention):
    """Additive attention: score = v . tanh(W query + U slot) (Bahdanau et al. 2015, A.1.2)."""

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
            memory_dim=memory_dim,
        )
        width = self.key.out_features
        self.score = nn.Parameter(torch.empty(width).uniform_(-1, 1) / math.sqrt(width))

    def keys(self, memory: Memory) -> Tensor:
        """Return exp(2 U slot) (B, N, A), the form in which the scores want the keys."""
        return doubled_exponential(super().keys(memory))

    def loop_keys(self, keys: Tensor, memory: Memory) -> Any:
        """Return keys and slots whose gradients all steps of a loop sum up in one place."""
        return share_keys(keys), share_slots(memory.slots)

    def scores(self, query: Tensor, keys: Tensor | Shared) -> Tensor:
        """Return the additive scores (B, Q, N), up to a constant that softmax does not see."""
        return additive_scores(doubled_exponential(self.query(query)), keys, self.score)


class GatedAdditiveAttention(AdditiveAttention):
    """Additive attention whose context is scaled by a gate in (0, 1) of the decoder's state.

    Show, Attend and Tell (Xu et al. 2015), section 4.2.1: z = sigmoid(f_beta(h)) * sum a_i slot_i,
    trained with the doubly stochastic penalty.
    """

    def __init__(
        self,
        width: int | None = None,
        *,
        doubly_stochastic: float = 1.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            width,
            doubly_stochastic=doubly_stochastic,
            query_dim=query_dim,
            memory_dim=memory_dim,
        )
        self.gate = nn.Linear(query_dim, 1)

    def forward(self, query: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, ...]:
        """Return gated contexts (B, Q, D) and weights (B, Q, N), which still sum to one."""
        context, weights = super().forward(query, keys, memory)
        return self.gate(query).sigmoid() * context, weights


def doubled_exponential(projected: Tensor) -> Tensor:
    """Return exp(2 x), the form in which ``additive_scores`` wants queries and keys."""
    # float32 at least: in half precision the exponential overflows at 11
    if projected.dtype in (torch.float16, torch.bfloat16):
        projected = projected.float()
    return (2 * projected.clamp(-_LIMIT, _LIMIT)).exp()
