"""Adaptive attention: a visual sentinel beside the image.

Legend as in ``captionlab.models.attention.base``: B images, Q queries, N slots, D memory width,
H query width, A attention width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.attention.additive import AdditiveAttention, doubled_exponential
from captionlab.models.attention.additive_scores import share_keys
from captionlab.models.attention.shared import share_slots, weighted_sum


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

    def keys(self, memory: Memory) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return exp(2 W_v v) (B, N, A) and the values v = relu(W_a slot) (B, N, H)."""
        self.require_memory(memory)
        values = self.value(memory.slots).relu()
        return doubled_exponential(self.key(values)), values

    def loop_keys(self, keys: tuple[Tensor, Tensor], memory: Memory) -> Any:  # type: ignore[override]
        """Return keys and values whose gradients all steps of a loop sum up in one place."""
        return share_keys(keys[0]), share_slots(keys[1])

    def attend(
        self, query: Tensor, keys: tuple[Any, Any], memory: Memory, sentinel: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return contexts (B, Q, H) and the image's weights, given sentinels (B, Q, H)."""
        projected = self.query(query)
        scores = self.scores(query, keys[0])
        # the same constant as in additive_scores is left out: sum_a score[a]
        own = ((self.sentinel(sentinel) + projected).tanh() - 1) @ self.score.to(projected.dtype)
        masked = scores.masked_fill(~memory.mask.unsqueeze(1), -math.inf)
        weights = torch.cat([masked, own.to(scores.dtype).unsqueeze(-1)], -1).softmax(-1)
        image, beta = weights[..., :-1], weights[..., -1:]
        context = weighted_sum(image, keys[1]) + beta.to(sentinel.dtype) * sentinel
        return context, image
