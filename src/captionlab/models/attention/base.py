"""What an attention over a memory offers, and the decoder's choice to have none.

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

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.shared import weighted_sum


class Attention(nn.Module, ABC):
    """The base of every attention over a memory.

    ``doubly_stochastic`` is the factor of the penalty sum_n (1 - sum_t weights)^2 that the
    objective adds (Show, Attend and Tell, equation 14); 0 asks for none.
    """

    def __init__(
        self, *, query_dim: int, memory_dim: int, context_dim: int, doubly_stochastic: float
    ) -> None:
        super().__init__()
        self.query_dim = query_dim
        self.memory_dim = memory_dim
        self.context_dim = context_dim
        self.doubly_stochastic = doubly_stochastic

    @abstractmethod
    def keys(self, memory: Memory) -> Any:
        """Return the projected slots, computed once an image.

        Raises UserError if the memory has another width, or an image has no real slot.
        """

    @abstractmethod
    def forward(self, query: Tensor, keys: Any, memory: Memory) -> tuple[Tensor, ...]:
        """Return contexts (B, Q, C) and weights (B, Q, N) of queries (B, Q, H)."""

    def loop_keys(self, keys: Any, memory: Memory) -> Any:
        """Return keys as the steps of one teacher-forced loop read them, with a gradient.

        They are what ``forward`` takes, and may have a cheaper way to sum up the gradients of all
        steps (``captionlab.models.attention.shared``).
        """
        return keys

    def require_memory(self, memory: Memory) -> None:
        """Raise UserError if the memory has another width, or an image has no real slot."""
        memory.require_width(self.memory_dim, "attention")
        memory.require_real_slots()


class ScoreAttention(Attention):
    """The base of attentions that weigh the slots themselves; a subclass supplies ``scores``.

    ``width`` is A, None stands for ``query_dim``. Raises UserError for one below 1.
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
            query_dim=query_dim,
            memory_dim=memory_dim,
            context_dim=memory_dim,
            doubly_stochastic=doubly_stochastic,
        )
        width = query_dim if width is None else width
        if width < 1:
            raise UserError(f"an attention's width must be positive, got width={width}")
        self.query = nn.Linear(query_dim, width)
        self.key = nn.Linear(memory_dim, width, bias=False)

    def keys(self, memory: Memory) -> Tensor:
        """Return the projected slots (B, N, A), computed once an image."""
        self.require_memory(memory)
        keys: Tensor = self.key(memory.slots)
        return keys

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return how well each query (B, Q, H) fits each key (B, N, A), as (B, Q, N)."""

    def forward(self, query: Tensor, keys: Any, memory: Memory) -> tuple[Tensor, ...]:
        """Return contexts (B, Q, D) and weights (B, Q, N) of queries (B, Q, H)."""
        # a loop brings the slots as well, see ``loop_keys``
        projected, slots = keys if isinstance(keys, tuple) else (keys, memory.slots)
        weights = masked_softmax(self.scores(query, projected), memory)
        return weighted_sum(weights, slots), weights


class NoAttention(nn.Module):
    """No attention: the decoder sees the pooled image once, as in Show and Tell (2015)."""

    doubly_stochastic = 0.0

    def __init__(self, *, query_dim: int, memory_dim: int) -> None:
        super().__init__()
        self.query_dim = query_dim
        self.memory_dim = memory_dim


def masked_softmax(scores: Tensor, memory: Memory) -> Tensor:
    """Return weights (B, Q, N) of scores (B, Q, N): zero on slots that are not real."""
    return scores.masked_fill(~memory.mask.unsqueeze(1), -math.inf).softmax(dim=-1)
