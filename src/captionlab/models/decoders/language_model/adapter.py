"""Gated cross-attention adapters: layers of a language model that attend to the memory first.

Legend: B images, N memory slots, H the language model's width, R rows (B K or B W), Q tokens of a
row, h heads, d = H / h, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.decoders.transformer.layers import multi_head


class CrossAttentionContext:
    """The memory's keys and values during one pass, and the last layer's weights (B, Q R / B, N)."""

    def __init__(self, keys_values: tuple[KeysValues, ...], mask: Tensor | None) -> None:
        self.keys_values = keys_values
        self.mask = mask
        self.weights: Tensor | None = None


# the library calls its layers itself and would not hand a memory on; a variable of the context
# keeps passes of several threads apart
_CONTEXT: ContextVar[CrossAttentionContext] = ContextVar("cross_attention")


class GatedCrossAttention(nn.Module):
    """x + tanh(gate) * attention(norm(x), memory), the gate 0 at first.

    Alayrac et al. 2022 (Flamingo), section 2.2, without its feed-forward half: the language model
    begins as it was, and learns how much it wants to see.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = multi_head(width, heads, dropout=dropout)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, keys: KeysValues, mask: Tensor | None, weigh: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return x (R, Q, H) and, if asked, the weights (B, Q R / B, N) of a memory (B, h, N, d)."""
        queries = self.norm(x).reshape(keys[0].shape[0], -1, x.shape[-1])
        weights = None
        if weigh:
            attended, weights = self.attention.attend_with_weights(queries, keys, mask)
        else:
            attended = self.attention.attend(queries, keys, mask=mask)
        return x + self.gate.tanh() * attended.view_as(x), weights


class AdaptedLayer(nn.Module):
    """A layer of the language model behind a gated cross-attention to the memory."""

    def __init__(self, layer: nn.Module, cross: GatedCrossAttention, place: int) -> None:
        super().__init__()
        self.layer = layer
        self.cross = cross
        self.place = place

    def __getattr__(self, name: str) -> Any:
        # models read their layers' own attributes, such as the kind of their attention
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the layer makes of hidden states (R, Q, H) after the memory."""
        context = _CONTEXT.get()
        x, context.weights = self.cross(
            hidden_states,
            context.keys_values[self.place],
            context.mask,
            weigh=self.place == len(context.keys_values) - 1,
        )
        return self.layer(x, *args, **kwargs)


class Recomputed:
    """Stands in for a layer's ``forward``: keeps its input alone, and computes the rest once more.

    Activation checkpointing (Chen et al. 2016): memory falls from all that a layer computes to one
    tensor (R, T, H) a layer, for one more forward pass. The layer's parameters keep their names. The
    memory, and whether it drops out, are as they were, whatever has changed until ``backward``.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the layer returns."""
        forward = type(self.layer).forward
        if not torch.is_grad_enabled():
            return forward(self.layer, *args, **kwargs)
        context = _CONTEXT.get()
        modes = [(module, module.training) for module in self.layer.modules()]

        def recompute(*args: Any, **kwargs: Any) -> Any:
            with cross_attention_context(context), _in_modes(modes):
                return forward(self.layer, *args, **kwargs)

        return checkpoint(recompute, *args, use_reentrant=False, **kwargs)


@contextmanager
def cross_attention_context(context: CrossAttentionContext) -> Iterator[None]:
    """Let the layers attend to this, for as long as the block lasts."""
    before = _CONTEXT.set(context)
    try:
        yield
    finally:
        _CONTEXT.reset(before)


@contextmanager
def _in_modes(modes: list[tuple[nn.Module, bool]]) -> Iterator[None]:
    before = [(module, module.training) for module, _ in modes]
    try:
        for module, training in modes:
            module.training = training
        yield
    finally:
        for module, training in before:
            module.training = training
