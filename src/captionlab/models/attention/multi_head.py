"""Multi-head attention, of recurrent decoders over a memory and of Transformers alike.

Legend: R rows (images, or captions of images), Q queries a row, N keys a row (memory slots or
words), H query width, D memory width, h heads, d = H / h.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention
from captionlab.models.dropout import dropout

KeysValues = tuple[Tensor, Tensor]  # each (R, h, N, d)


class MultiHeadAttention(Attention):
    """Multi-head scaled dot products with projected values (Vaswani et al. 2017, section 3.2.2).

    The context is as wide as the query; the weights are the heads' mean. Keys and values are
    projected apart from the queries (``project``), so that an image's are made once for all its
    captions and steps. ``attend`` is torch's fused kernel, ``attend_with_weights`` tells the weights
    too. ``memory_slots`` learned keys and values stand behind those of the input (Cornia et al.
    2020, equation 3). Raises UserError where the query's width does not divide into heads.
    """

    def __init__(
        self,
        heads: int = 8,
        *,
        dropout: float = 0.0,
        doubly_stochastic: float = 0.0,
        memory_slots: int = 0,
        query_dim: int,
        memory_dim: int,
    ) -> None:
        if heads < 1 or query_dim % heads:
            raise UserError(f"hidden={query_dim} cannot be divided into heads={heads}")
        super().__init__(
            query_dim=query_dim,
            memory_dim=memory_dim,
            context_dim=query_dim,
            doubly_stochastic=doubly_stochastic,
        )
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(query_dim, query_dim)
        self.key = nn.Linear(memory_dim, query_dim)
        self.value = nn.Linear(memory_dim, query_dim)
        self.output = nn.Linear(query_dim, query_dim)
        self.memory_keys = self.memory_values = None
        if memory_slots:
            size = query_dim // heads
            # the deviations of the paper's code: 1/d for keys, 1/m for values
            self.memory_keys = nn.Parameter(torch.randn(heads, memory_slots, size) / size)
            self.memory_values = nn.Parameter(torch.randn(heads, memory_slots, size) / memory_slots)

    def project(self, inputs: Tensor) -> KeysValues:
        """Return keys and values (R, h, N, d) of inputs (R, N, D), the learned ones at the end."""
        keys, values = self.split(self.key(inputs)), self.split(self.value(inputs))
        if self.memory_keys is not None and self.memory_values is not None:
            rows = inputs.shape[0]
            # sqrt(d) and sqrt(m) undo the small deviations, as in the paper's code
            size, slots = self.memory_keys.shape[-1], self.memory_keys.shape[-2]
            more_keys = (self.memory_keys * math.sqrt(size)).expand(rows, -1, -1, -1)
            more_values = (self.memory_values * math.sqrt(slots)).expand(rows, -1, -1, -1)
            keys = torch.cat([keys, more_keys.to(keys.dtype)], 2)
            values = torch.cat([values, more_values.to(values.dtype)], 2)
        return keys, values

    def attend(
        self,
        queries: Tensor,
        projected: KeysValues,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Return contexts (R, Q, H) of queries (R, Q, H), and projected keys and values.

        ``mask`` (R, N) is True where a key may be seen, None where all may; learned slots are
        always seen.
        """
        heads = self.heads_of(self.query(queries), projected, mask=mask, causal=causal)
        return self.project_output(queries, heads)

    def attend_with_weights(
        self, queries: Tensor, projected: KeysValues, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return what ``attend`` does, and the weights (R, Q, N) averaged over the heads."""
        heads, weights = self.heads_and_weights(self.query(queries), projected, mask=mask)
        return self.project_output(queries, heads), weights.mean(1)

    def heads_of(
        self, query: Tensor, projected: KeysValues, *, mask: Tensor | None, causal: bool = False
    ) -> Tensor:
        """Return the heads' contexts side by side (R, Q, H) of projected queries (R, Q, H)."""
        rate = self.dropout if self.training else 0.0
        if rate and query.device.type == "cpu":
            # torch has no fused kernel with dropout on a CPU
            return self.heads_and_weights(query, projected, mask=mask, causal=causal)[0]
        keys, values = projected
        heads = F.scaled_dot_product_attention(
            self.split(query),
            keys,
            values,
            attn_mask=self._full_mask(mask, keys),
            is_causal=causal,
            dropout_p=rate,
        )
        return heads.transpose(1, 2).flatten(2)

    def heads_and_weights(
        self, query: Tensor, projected: KeysValues, *, mask: Tensor | None, causal: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return what ``heads_of`` does, and each head's weights (R, h, Q, N)."""
        keys, values = projected
        scores = self.split(query / math.sqrt(keys.shape[-1])) @ keys.transpose(-2, -1)
        full_mask = self._full_mask(mask, keys)
        if causal:
            earlier = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            full_mask = earlier if full_mask is None else full_mask & earlier
        if full_mask is not None:
            scores = scores.masked_fill(~full_mask, -math.inf)
        weights = scores.softmax(-1)
        dropped = dropout(weights, self.dropout, self.training)
        heads = dropped.to(values.dtype) @ values
        return heads.transpose(1, 2).flatten(2), weights

    def project_output(self, queries: Tensor, heads: Tensor) -> Tensor:
        """Return the context (R, Q, H) of the heads' contexts side by side (R, Q, H)."""
        return self.output(heads)

    def keys(self, memory: Memory) -> KeysValues:
        """Return keys and values of a memory's slots, computed once an image."""
        self.require_memory(memory)
        return self.project(memory.slots)

    def forward(self, query: Tensor, keys: KeysValues, memory: Memory) -> tuple[Tensor, ...]:
        """Return contexts (B, Q, H) and weights (B, Q, N) of queries (B, Q, H)."""
        return self.attend_with_weights(query, keys, memory.mask)

    def _full_mask(self, mask: Tensor | None, keys: Tensor) -> Tensor | None:
        if mask is None:
            return None
        return F.pad(mask, (0, keys.shape[2] - mask.shape[1]), value=True)[:, None, None]

    def split(self, inputs: Tensor) -> Tensor:
        """Return (R, h, N, d) of projected inputs (R, N, H), the heads side by side."""
        return inputs.unflatten(-1, (self.heads, -1)).transpose(1, 2)
