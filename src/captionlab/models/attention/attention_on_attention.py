"""Attention on attention (AoA)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captionlab.models.attention.multi_head import MultiHeadAttention


class AttentionOnAttention(MultiHeadAttention):
    """What multi-head attention gives, with the query, through a gate of both (AoA).

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

    def project_output(self, queries: Tensor, heads: Tensor) -> Tensor:
        """Return information times gate (R, Q, H)."""
        return nn.functional.glu(self.output(torch.cat([queries, heads], -1)))
