"""Hard attention: one slot is looked at.

Legend as in ``captionlab.models.attention.base``: B images, Q queries, N slots, D memory width,
H query width, A attention width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.additive import AdditiveAttention
from captionlab.models.attention.additive_scores import share_keys
from captionlab.models.attention.base import masked_softmax


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

    def keys(self, memory: Memory) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return exp(2 U slot) (B, N, A), and which images (B,) get the expectation."""
        keys = super().keys(memory)
        soft = torch.rand(keys.shape[0], device=keys.device) < self.expected
        return keys, soft if self.training else torch.zeros_like(soft)

    def loop_keys(self, keys: tuple[Tensor, Tensor], memory: Memory) -> Any:  # type: ignore[override]
        """Return keys whose gradient all steps of a loop sum up in one place, and the images."""
        return share_keys(keys[0]), keys[1]

    def forward(
        self, query: Tensor, keys: tuple[Any, Tensor], memory: Memory
    ) -> tuple[Tensor, ...]:
        """Return contexts (B, Q, D), weights (B, Q, N) and the slots (B, Q), -1 for expectation."""
        projected, soft = keys
        weights = masked_softmax(self.scores(query, projected), memory)
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
