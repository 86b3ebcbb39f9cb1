"""Decoders whose image is read once, before the first word: its part is kept for all captions of it.

Legend: B images, K captions an image, T tokens, W beams, P positions of an image, N memory slots,
H the language model's width, R rows (B K or B W), Q tokens of a row, h heads, d = H / h, t words so
far.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.language_model.base import (
    CausalDecoder,
    Words,
    beams_of,
    rows_of,
)
from captionlab.models.decoders.language_model.shared_cache import shared_cache
from captionlab.models.state import PER_BEAM, State


@dataclass(frozen=True)
class Beginning:
    """What the language model made of each image: ``first`` (B, H) predicts the first word.

    ``prefix`` holds of each layer the keys and values (B, h, P, d) of the image's positions,
    ``cross`` those (B, h, N, d) of its slots, for layers that attend to them.
    """

    first: Tensor
    prefix: Words
    cross: Words = ()


@dataclass(frozen=True, kw_only=True)
class BegunState(State):
    """The beginning of the image, and of each layer keys and values (B, W, h, t, d) of the words."""

    beginning: Beginning
    words: Words = field(default=(), metadata=PER_BEAM)
    length: int = 0


class BeginningDecoder(CausalDecoder, ABC):
    """The base of decoders that read an image, and where a text begins, once for all its captions.

    A subclass supplies ``read_beginning``; the first input, bos, is what that has read.
    """

    taken = 0  # positions of the language model that the image takes from the words

    @abstractmethod
    def read_beginning(self, memory: Memory) -> Beginning:
        """Return the beginning of each image. Raises UserError for a memory that does not fit."""

    def read_words(self, tokens: Tensor, begun: Beginning, memory: Memory, words: Words) -> Any:
        """Return hidden (R, Q, H) of ids (R, Q) behind ``words``, and the cache's layers."""
        cache = shared_cache(begun.prefix, rows_of(words))
        return self.read(self.embed(tokens), cache), cache.layers

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad); what stands at padding is finite
        and of no meaning. Raises UserError for a memory that does not fit, and for captions longer
        than the language model's positions.
        """
        images, captions, length = tokens.shape
        self.require_length(length, self.taken)
        begun = self.read_beginning(memory)
        hidden = begun.first[:, None, None].expand(-1, captions, 1, -1)
        if length > 1:
            rows, _ = self.read_words(tokens[..., 1:].flatten(0, 1), begun, memory, ())
            behind = rows.view(images, captions, length - 1, -1)
            hidden = torch.cat([hidden, behind], 2)
        return Decoded(hidden)

    def init_state(self, memory: Memory, width: int) -> BegunState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory that does not fit.
        """
        return BegunState(memory=memory, beginning=self.read_beginning(memory))

    def step(self, token_ids: Tensor, state: BegunState) -> tuple[Tensor, BegunState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images, width = token_ids.shape
        self.require_length(state.length + 1, self.taken)
        following = replace(state, length=state.length + 1)
        begun = state.beginning
        if state.length == 0:
            return self.logits(begun.first.unsqueeze(1).expand(-1, width, -1)), following
        rows, layers = self.read_words(token_ids.view(-1, 1), begun, state.memory, state.words)
        hidden = rows.view(images, width, -1)
        return self.logits(hidden), replace(following, words=beams_of(layers, images))
