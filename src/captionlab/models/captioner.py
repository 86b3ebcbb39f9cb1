"""A captioner: an encoder, a decoder and what connects them.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, H hidden width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.state import State


class Decoded(NamedTuple):
    """What a decoder makes of a whole batch of captions.

    ``hidden`` (B, K, T, H) is what ``logits`` reads. ``weights`` (B, K, T, N) says where each step
    looked. Hard attention gives ``log_choice`` (B, K, T), the log-probability of the slots it drew,
    and ``entropy`` (B, K, T) of the distribution it drew them from. A latent decoder gives ``kl``
    (B, K, Z), the divergence of posterior from prior in each dimension of the latent, in nats.
    """

    hidden: Tensor
    weights: Tensor | None = None
    log_choice: Tensor | None = None
    entropy: Tensor | None = None
    kl: Tensor | None = None


class Decoder(Protocol):
    """What every decoder offers (and is an ``nn.Module`` besides)."""

    output_dim: int
    pad_id: int
    attention_penalty: float

    def __call__(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H), and what else there is, of inputs (B, K, T)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (..., V) from (..., H)."""

    def init_state(self, memory: Memory, width: int) -> State:
        """Return the state before the first token, for ``width`` beams an image."""

    def step(self, token_ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""


class Captioner(nn.Module):
    """Images in, words out: everything an objective or a decoding method may ask for."""

    encoder: Any  # an ImageEncoder, or another module from images to a memory
    decoder: Any  # a module that is a Decoder
    tags: Any  # a TagHead that learns beside the decoder, or None
    connector: Any  # a module from the encoder's memory to the decoder's, or None: they are one
    retrieval: Any  # a CaptionRetrieval, which gives prompts before each caption, or None
    control_ids: tuple[int, ...] = ()  # tokens of prompts, which no caption holds

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        tags: nn.Module | None = None,
        connector: nn.Module | None = None,
        retrieval: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.tags = tags
        self.connector = connector
        self.retrieval = retrieval

    @property
    def _decoder(self) -> Decoder:
        return cast(Decoder, self.decoder)

    @property
    def attention_penalty(self) -> float:
        """The factor of the doubly stochastic penalty that the attention asks for; 0 for none."""
        return self._decoder.attention_penalty

    def encode(self, images: Tensor | Memory) -> Memory:
        """Return the memory that the decoder reads, of images (B, 3, h, w), uint8 or floats in [0, 1].

        A memory, read from a feature store, is what the encoder would return: it passes, at the
        precision of the decoder's weights, to the connector.
        """
        return self.connect(self.look(images))

    def look(self, images: Tensor | Memory) -> Memory:
        """Return what the encoder alone sees of images, as ``encode`` takes them."""
        return self._stored(images) if isinstance(images, Memory) else self.encoder(images)

    def connect(self, memory: Memory) -> Memory:
        """Return the memory that the decoder reads, of what ``look`` gave."""
        return memory if self.connector is None else self.connector(memory)

    def _stored(self, memory: Memory) -> Memory:
        weight = next(self.decoder.parameters(), None)
        if weight is None:  # of a decoder that only looks captions up
            return memory
        dtype = weight.dtype
        return memory.each(lambda part: part.to(dtype) if part.is_floating_point() else part)

    def forward(self, images: Tensor | Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H), attention weights (B, K, T, N) | None, and what else there is.

        ``images`` as ``encode`` takes them; ``tokens`` (B, K, T) are the decoder's inputs, already
        shifted.
        """
        return self.decoder(self.encode(images), tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (..., V) from (..., H); give it real tokens only."""
        return self._decoder.logits(hidden)

    def init_state(self, memory: Memory, width: int) -> State:
        """Return the decoder's state before the first token, for ``width`` beams an image."""
        return self._decoder.init_state(memory, width)

    def sample_init_state(
        self,
        memory: Memory,
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> State:
        """Return the state before the first token, for ``width`` random captions an image.

        A latent decoder draws what each is about from its prior; to any other this is ``init_state``.
        ``seeds``, one an image, decide the draws where given.
        """
        draw = getattr(self.decoder, "sample_init_state", None)
        return (
            self.init_state(memory, width)
            if draw is None
            else draw(memory, width, generator, seeds)
        )

    def step(self, token_ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        return self._decoder.step(token_ids, state)
