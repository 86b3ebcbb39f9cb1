"""Recurrent captioners whose step is their own: the loop they share, and what each must say.

Legend: B images, K captions an image, W beams, T tokens, N memory slots, D memory width,
E embedding width, H hidden width, V vocabulary, M rows of a ``Packing``, b x k those of one step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.attention.families import AdaptiveAttention
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.decoders.recurrent.recurrence import Look, first_images, join
from captionlab.models.decoders.recurrent.rnn_decoder import decoded
from captionlab.models.state import PER_BEAM, State

Parts = tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class LoopState(State):
    """The image's keys, and the recurrent parts (B, W, ...) of each beam."""

    keys: Any
    parts: Parts = field(metadata=PER_BEAM)


class LoopDecoder(nn.Module, ABC):
    """The base of recurrent decoders with a step of their own.

    A subclass says how a caption begins (``begin``), what can be computed for all steps together
    (``tools``), and what one step does (``turn``). At build time come ``vocabulary_size``,
    ``pad_id``, ``memory_dim`` and the built ``attention``.
    """

    # the attention sees the memory itself; a decoder that refines it first says True
    refines_memory = False

    def __init__(
        self,
        *,
        hidden: int,
        embedding: int,
        dropout: float,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: Any,
        adaptive: bool = False,
    ) -> None:
        super().__init__()
        _check_attention(type(self).__name__, attention, adaptive)
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.output_dim = hidden
        self.hidden = hidden
        self.attention: Any = attention
        self.attention_penalty = float(attention.doubly_stochastic)
        self.words = nn.Embedding(vocabulary_size, embedding, padding_idx=pad_id)
        self.output = nn.Linear(hidden, vocabulary_size)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def begin(self, memory: Memory, width: int) -> Parts:
        """Return the recurrent parts (B, W, ...) before the first word."""

    @abstractmethod
    def tools(self, words: Tensor, rows: list[int], image: Tensor, memory: Memory) -> Any:
        """Return what ``turn`` uses, made for all steps at once.

        ``words`` (M, E) are embedded, ``rows`` counts those of each step, ``image`` (M,) says
        whose they are, by the place in ``memory``.
        """

    @abstractmethod
    def turn(
        self, tools: Any, step: int, parts: Parts, keys: Any, memory: Memory
    ) -> tuple[Look, Parts]:
        """Return what step ``step`` has to say, (b, k, ...) each, and the parts after it."""

    def refine(self, memory: Memory) -> Memory:
        """Return the memory as the attention is to see it, computed once an image."""
        return memory

    def embed(self, tokens: Tensor) -> Tensor:
        """Return embedded words (..., E) of ids (...)."""
        return self.dropout(self.words(tokens))

    def read(self, look: Look) -> Tensor:
        """Return what ``logits`` reads (..., H) of what a step says."""
        return self.dropout(look.hidden)

    def zeros(self, memory: Memory, width: int, *sizes: int) -> Parts:
        """Return parts of zeros (B, W, size)."""
        return tuple(memory.pooled.new_zeros(len(memory), width, size) for size in sizes)

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H) and weights (B, K, T, N) of inputs (B, K, T).

        After the end of a caption both are undefined but finite. Raises UserError for a memory of
        another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        packing = Packing(tokens, self.pad_id)
        memory = self.refine(memory)
        every = torch.arange(len(memory), device=tokens.device)[:, None, None].expand_as(tokens)
        words = self.embed(packing.pack(tokens))
        tools = self.tools(words, packing.rows, packing.pack(every), memory)
        memory = memory.take(packing.images)
        keys, parts = self.attention.keys(memory), self.begin(memory, tokens.shape[1])
        looks = []
        for step, (images, captions) in enumerate(packing.sizes):
            if (images, captions) != parts[0].shape[:2]:
                parts = tuple(part[:images, :captions] for part in parts)
                memory, keys = memory.first(images), first_images(keys, images)
            look, parts = self.turn(tools, step, parts, keys, memory)
            looks.append(look)
        look = join(looks)
        return decoded(packing, self.read(look), look)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H)."""
        return self.output(hidden)

    def init_state(self, memory: Memory, width: int) -> LoopState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        memory = self.refine(memory)
        return LoopState(
            memory=memory, keys=self.attention.keys(memory), parts=self.begin(memory, width)
        )

    def step(self, token_ids: Tensor, state: LoopState) -> tuple[Tensor, LoopState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images, width = token_ids.shape
        words = self.embed(token_ids).flatten(0, 1)
        image = torch.arange(images, device=token_ids.device).repeat_interleave(width)
        tools = self.tools(words, [images * width], image, state.memory)
        look, parts = self.turn(tools, 0, state.parts, state.keys, state.memory)
        following = replace(state, parts=parts, weights=look.weights)
        return self.logits(self.read(look)), following


def _check_attention(name: str, attention: nn.Module, adaptive: bool) -> None:
    if isinstance(attention, NoAttention):
        raise UserError(
            f"{name} looks at the image in every step: model/attention=none is not enough"
        )
    if adaptive != isinstance(attention, AdaptiveAttention):
        needs = "adaptive" if adaptive else "additive, or another that needs no sentinel"
        raise UserError(
            f"{name} cannot use {type(attention).__name__}: say model/attention={needs}"
        )
    if not isinstance(attention, Attention):
        raise UserError(
            f"{name} needs an attention over the memory, not {type(attention).__name__}"
        )
