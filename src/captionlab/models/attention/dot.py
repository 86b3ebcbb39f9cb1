"""Dot-product attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captionlab.models.attention.base import ScoreAttention


class DotAttention(ScoreAttention):
    """Scaled dot product: score = (W query) . (U slot) / sqrt(A).

    Luong et al. 2015 ("general"), scaled as in Vaswani et al. 2017, equation 1.
    """

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return the scaled dot products (B, Q, N) of queries (B, Q, H) and keys (B, N, A)."""
        return torch.bmm(self.query(query) / math.sqrt(keys.shape[-1]), keys.transpose(1, 2))
