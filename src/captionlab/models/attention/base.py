"""Where a decoder looks: none, additive, gated additive, dot product.

Legend: B images, Q queries an image (K captions or W beams), N memory slots, D memory width,
H query width, A attention width, C context width (``context_dim``, D unless a class says so).

Every attention is built with ``query_dim`` and ``memory_dim``, projects the slots once an image
(``keys(memory)``, a tensor or a tuple of tensors, the image first), and then turns queries
(B, Q, H) into contexts (B, Q, C) and weights (B, Q, N) that are zero on slots that are not real and
sum to one over the others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.kernels import additive_scores

# exp(2 * 20)**2 still fits float32, and tanh has long been flat there
_LIMIT = 20.0


class Attention(nn.Module, ABC):
    """The base of every attention over a memory; a subclass supplies ``scores``.

    ``doubly_stochastic`` is the factor of the penalty sum_n (1 - sum_t weights)^2 that the
    objective adds (Show, Attend and Tell, equation 14); 0 asks for none. ``width`` None stands for
    ``query_dim``.
    """

    def __init__(
        self,
        width: int | None = None,
        *,
        doubly_stochastic: float = 0.0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        super().__init__()
        width = query_dim if width is None else width
        if width < 1:
            raise UserError(f"an attention's width must be positive, got width={width}")
        self.query_dim = query_dim
        self.memory_dim = memory_dim
        self.context_dim = memory_dim
        self.doubly_stochastic = doubly_stochastic
        self.query = nn.Linear(query_dim, width)
        self.key = nn.Linear(memory_dim, width, bias=False)

    def keys(self, memory: Memory) -> Any:
        """Return the projected slots (B, N, A), computed once an image.

        Raises UserError if the memory has another width, or an image has no real slot.
        """
        self.require(memory)
        return self.key(memory.slots)

    def require(self, memory: Memory) -> None:
        """Raise UserError if the memory has another width, or an image has no real slot."""
        memory.require_width(self.memory_dim, "attention")
        memory.require_real_slots()

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return how well each query (B, Q, H) fits each key (B, N, A), as (B, Q, N)."""

    def forward(self, query: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return contexts (B, Q, D) and weights (B, Q, N) of queries (B, Q, H)."""
        weights = real_softmax(self.scores(query, keys), memory)
        return torch.bmm(weights.to(memory.slots.dtype), memory.slots), weights


class AdditiveAttention(Attention):
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

    def keys(self, memory: Memory) -> Any:
        """Return exp(2 U slot) (B, N, A), the form in which the scores want the keys."""
        return doubled_exponential(super().keys(memory))

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
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

    def forward(self, query: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return gated contexts (B, Q, D) and weights (B, Q, N), which still sum to one."""
        context, weights = super().forward(query, keys, memory)
        return self.gate(query).sigmoid() * context, weights


class DotAttention(Attention):
    """Scaled dot product: score = (W query) . (U slot) / sqrt(A).

    Luong et al. 2015 ("general"), scaled as in Vaswani et al. 2017, equation 1.
    """

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return the scaled dot products (B, Q, N)."""
        return torch.bmm(self.query(query) / math.sqrt(keys.shape[-1]), keys.transpose(1, 2))


class NoAttention(nn.Module):
    """No attention: the decoder sees the pooled image once, as in Show and Tell (2015)."""

    doubly_stochastic = 0.0

    def __init__(self, *, query_dim: int, memory_dim: int) -> None:
        super().__init__()
        self.query_dim = query_dim
        self.memory_dim = memory_dim


def real_softmax(scores: Tensor, memory: Memory) -> Tensor:
    """Return weights (B, Q, N) of scores (B, Q, N): zero on slots that are not real."""
    return scores.masked_fill(~memory.mask.unsqueeze(1), -math.inf).softmax(dim=-1)


def doubled_exponential(projected: Tensor) -> Tensor:
    """Return exp(2 x), the form in which ``additive_scores`` wants queries and keys."""
    # float32 at least: in half precision the exponential overflows at 11
    if projected.dtype in (torch.float16, torch.bfloat16):
        projected = projected.float()
    return (2 * projected.clamp(-_LIMIT, _LIMIT)).exp()
