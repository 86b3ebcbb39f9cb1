"""ClipCap: an image becomes the beginning of a text that a causal language model goes on with.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width, L prefix
length, H the language model's width, h heads, d = H / h, t tokens so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.language_model.base import (
    CausalDecoder,
    Trainable,
    Words,
    beams_of,
    rows_of,
)
from captionlab.models.decoders.language_model.library import KEY
from captionlab.models.decoders.language_model.lora import Lora
from captionlab.models.decoders.language_model.mapping import MlpMapping, TransformerMapping
from captionlab.models.decoders.language_model.shared_cache import shared_cache
from captionlab.models.state import PER_BEAM, State

Mapping = Literal["mlp", "transformer"]


@dataclass(frozen=True, kw_only=True)
class PrefixState(State):
    """The prefix of the image and the words so far.

    ``first`` (B, H) is what the prefix's last place says of the first word; ``prefix`` holds of each
    layer keys and values (B, h, L, d), ``words`` those (B, W, h, t, d) of the words behind it.
    """

    first: Tensor
    prefix: Words
    words: Words = field(default=(), metadata=PER_BEAM)
    length: int = 0


class PrefixDecoder(CausalDecoder):
    """A causal language model that goes on from ``prefix_length`` embeddings made of the image.

    Mokady et al. 2021 (ClipCap). ``mapping`` mlp makes the prefix of the pooled image; transformer
    of the slots, in ``mapping_layers`` layers of ``mapping_heads`` heads. As in the paper the prefix
    stands where the beginning of the text stood: its last place predicts the first word, and the
    first input, bos, is not read. The captions and beams of an image share its prefix. The mapping
    always learns; ``name``, ``weights``, ``architecture``, ``trainable``, ``lora`` and ``attention`` are as
    ``LanguageModelDecoder`` explains. There are no attention weights. Raises UserError for values
    that do not fit and a model that cannot be had.
    """

    reads_pooled: bool  # by the mapping: the pooled image
    reads_slots: bool  # or the slots

    def __init__(
        self,
        name: str = "gpt2",
        *,
        weights: Literal["DEFAULT"] | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "none",
        lora: Lora | None = None,
        prefix_length: int = 10,
        mapping: Mapping = "transformer",
        mapping_layers: int = 8,
        mapping_heads: int = 8,
        dropout: float = 0.0,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        pooled_dim: int | None = None,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            name,
            weights=weights,
            architecture=architecture,
            trainable=trainable,
            lora=lora,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        if mapping not in get_args(Mapping):
            hint = did_you_mean(str(mapping), get_args(Mapping))
            raise UserError(f"{KEY}.mapping={mapping!r}: {hint}")
        self.reads_pooled = mapping == "mlp"
        self.reads_slots = not self.reads_pooled
        if not 1 <= prefix_length <= self.longest - 1:
            raise UserError(
                f"{KEY}.prefix_length={prefix_length} must be 1 to {self.longest - 1}, for a language "
                f"model of {self.longest} positions"
            )
        self.prefix_length = prefix_length
        self.pooled_dim = memory_dim if pooled_dim is None else pooled_dim
        # of what the language model reads, which it may project to its own width
        width = self.words.embedding_dim
        self.mapping: nn.Module
        if mapping == "mlp":
            self.mapping = MlpMapping(prefix_length, width, pooled_dim=self.pooled_dim)
        else:
            _check_layers(mapping_layers, mapping_heads, width)
            self.mapping = TransformerMapping(
                prefix_length,
                width,
                layers=mapping_layers,
                heads=mapping_heads,
                dropout=dropout,
                memory_dim=memory_dim,
            )
        self.train()

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad); what stands at padding is finite
        and of no meaning. Raises UserError for a memory of another width, without a real slot where
        slots are read, and for captions longer than the language model's positions.
        """
        images, captions, length = tokens.shape
        self._require_room(length)
        first, prefix = self._read_prefix(memory)
        hidden = first[:, None, None].expand(-1, captions, 1, -1)
        if length > 1:
            embedded = self.embed(tokens[..., 1:].flatten(0, 1))
            rows = self.read(embedded, shared_cache(prefix))
            behind = rows.view(images, captions, length - 1, -1)
            hidden = torch.cat([hidden, behind], 2)
        return Decoded(hidden)

    def init_state(self, memory: Memory, width: int) -> PrefixState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width, or without a real slot where slots are read.
        """
        first, prefix = self._read_prefix(memory)
        return PrefixState(memory=memory, first=first, prefix=prefix)

    def step(self, token_ids: Tensor, state: PrefixState) -> tuple[Tensor, PrefixState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images, width = token_ids.shape
        self._require_room(state.length + 1)
        following = replace(state, length=state.length + 1)
        if state.length == 0:
            return self.logits(state.first.unsqueeze(1).expand(-1, width, -1)), following
        cache = shared_cache(state.prefix, rows_of(state.words))
        hidden = self.read(self.embed(token_ids.view(-1, 1)), cache).view(images, width, -1)
        return self.logits(hidden), replace(following, words=beams_of(cache.layers, images))

    def _read_prefix(self, memory: Memory) -> tuple[Tensor, Words]:
        """Return the last hidden state (B, H) of the prefix, and its keys and values (B, h, L, d)."""
        pooled = self.pooled_dim if self.reads_pooled else None
        memory.require_width(self.memory_dim, "decoder", pooled)
        if self.reads_slots:
            memory.require_real_slots()
        cache = self.new_cache()
        hidden = self.read(self.mapping(memory), cache)
        return hidden[:, -1], tuple((layer.keys, layer.values) for layer in cache.layers)

    def _require_room(self, length: int) -> None:
        # the prefix stands in place of the first input
        self.require_length(length, self.prefix_length - 1)


def _check_layers(layers: int, heads: int, width: int) -> None:
    if layers < 1:
        raise UserError(f"{KEY}.mapping_layers={layers} must be at least 1")
    if heads < 1 or width % heads:
        raise UserError(
            f"{KEY}.mapping_heads={heads} does not divide {width}, the width of the language "
            f"model's embeddings"
        )
