"""Mapping networks: an image becomes the first embeddings that a language model reads.

Legend: B images, N memory slots, D memory width, P width of the pooled vector, L prefix length,
H the language model's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.decoders.transformer.layers import EncoderLayer


class MlpMapping(nn.Module):
    """The pooled image through two linear layers with a tanh between (Mokady et al. 2021, 3.3)."""

    def __init__(self, length: int, width: int, *, pooled_dim: int) -> None:
        super().__init__()
        inner = length * width // 2
        self.layers = nn.Sequential(
            nn.Linear(pooled_dim, inner), nn.Tanh(), nn.Linear(inner, length * width)
        )
        self.length = length

    def forward(self, memory: Memory) -> Tensor:
        """Return the prefix (B, L, H) of a memory's pooled vector (B, P)."""
        return self.layers(memory.pooled).unflatten(-1, (self.length, -1))


class TransformerMapping(nn.Module):
    """Learned constants behind the slots, all through a Transformer encoder (Mokady et al. 2021, 3.3).

    The constants' places are the prefix. The paper's encoder reads ten vectors made of CLIP's
    pooled one; here it reads the slots.
    """

    def __init__(
        self,
        length: int,
        width: int,
        *,
        layers: int,
        heads: int,
        dropout: float,
        memory_dim: int,
    ) -> None:
        super().__init__()
        self.slots = nn.Linear(memory_dim, width)
        self.constants = nn.Parameter(torch.randn(length, width) * width**-0.5)
        stack = nn.ModuleList(
            EncoderLayer(width, heads=heads, inner=2 * width, dropout=dropout, norm="pre")
            for _ in range(layers)
        )
        self.layers = cast("Sequence[EncoderLayer]", stack)

    def forward(self, memory: Memory) -> Tensor:
        """Return the prefix (B, L, H) of a memory's real slots (B, N, D)."""
        images, length = memory.slots.shape[0], len(self.constants)
        constants = self.constants.expand(images, -1, -1)
        x = torch.cat([self.slots(memory.slots), constants], 1)
        mask = torch.cat([memory.mask, memory.mask.new_ones(images, length)], 1)
        for layer in self.layers:
            x = layer(x, mask)
        return x[:, -length:]
