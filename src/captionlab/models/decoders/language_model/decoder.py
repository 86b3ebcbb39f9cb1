"""A pretrained causal language model with cross-attention to the memory: GPT-2, or any other of Hugging Face.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width, H the
language model's width, V vocabulary, R rows (B K or B W), h heads, d = H / h, t tokens so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.language_model.adapter import (
    AdaptedLayer,
    CrossAttentionContext,
    GatedCrossAttention,
    Recomputed,
    cross_attention_context,
)
from captionlab.models.decoders.language_model.base import (
    CausalDecoder,
    Trainable,
    Words,
    beams_of,
    rows_of,
)
from captionlab.models.decoders.language_model.library import KEY
from captionlab.models.decoders.language_model.lora import Lora
from captionlab.models.decoders.language_model.shared_cache import resumed_cache
from captionlab.models.state import PER_BEAM, State


@dataclass(frozen=True, kw_only=True)
class LanguageModelState(State):
    """The memory projected for each adapted layer, and keys and values (B, W, h, t, d) of words."""

    keys_values: tuple[KeysValues, ...]
    mask: Tensor | None  # (B, N) of the real slots, None where all are
    words: Words = field(default=(), metadata=PER_BEAM)
    length: int = 0


class LanguageModelDecoder(CausalDecoder):
    """A causal language model with gated cross-attention to the memory before its layers.

    ``name`` is a Hugging Face name or a folder; ``weights`` DEFAULT loads the model's own, None
    begins with random ones; ``architecture`` holds entries of a configuration (model_type, n_layer
    and so on) and replaces that of ``name``. Of the language model, ``trainable`` none keeps all as
    it is, a number trains that many last layers, all everything; the cross-attention, before every
    ``cross_every``-th layer, always learns. ``lora`` (``add_lora``) puts adapters beside its layers,
    which always learn, too; None: none. ``activation_checkpointing`` trains in less memory, by
    computing each layer twice. Text needs the model's own pieces
    (data/tokenizer=pretrained), their ids moved up by 4; with random weights any tokenizer will do.
    ``attention`` must be NoAttention. Raises UserError for values that do not fit and a model that
    cannot be had.
    """

    reads_pooled = False  # the slots alone

    def __init__(
        self,
        name: str = "gpt2",
        *,
        weights: Literal["DEFAULT"] | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "none",
        lora: Lora | None = None,
        cross_every: int = 1,
        heads: int = 8,
        dropout: float = 0.1,
        activation_checkpointing: bool = False,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
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
        width, layers = self.width, self.layers
        if heads < 1 or width % heads:
            raise UserError(
                f"{KEY}.heads={heads} does not divide the language model's width {width}"
            )
        if cross_every < 1:
            raise UserError(f"{KEY}.cross_every={cross_every} must be at least 1")
        self.slots = nn.Sequential(nn.Linear(memory_dim, width), nn.LayerNorm(width))
        for place, index in enumerate(range(0, len(layers), cross_every)):
            cross = GatedCrossAttention(width, heads, dropout)
            layers[index] = AdaptedLayer(layers[index], cross, place)
        if activation_checkpointing:
            for layer in layers:
                layer.forward = Recomputed(layer)
        self.train()

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H) and the last adapted layer's weights (B, K, T, N).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad); what stands at padding is finite
        and of no meaning. Raises UserError for a memory of another width or without a real slot,
        and for captions longer than the language model's positions.
        """
        images, captions, length = tokens.shape
        self.require_length(length)
        context = CrossAttentionContext(self._project_memory(memory), memory.mask_of_some())
        with cross_attention_context(context):
            output = self.body(inputs_embeds=self.embed(tokens.flatten(0, 1)), use_cache=False)
        hidden = output.last_hidden_state.view(images, captions, length, -1)
        return Decoded(hidden, _weights(context).view(images, captions, length, -1))

    def init_state(self, memory: Memory, width: int) -> LanguageModelState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width or without a real slot.
        """
        return LanguageModelState(
            memory=memory, keys_values=self._project_memory(memory), mask=memory.mask_of_some()
        )

    def step(
        self, token_ids: Tensor, state: LanguageModelState
    ) -> tuple[Tensor, LanguageModelState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images, width = token_ids.shape
        self.require_length(state.length + 1)
        cache = resumed_cache(rows_of(state.words))
        context = CrossAttentionContext(state.keys_values, state.mask)
        with cross_attention_context(context):
            hidden = self.read(self.embed(token_ids.view(-1, 1)), cache)
        following = replace(
            state,
            words=beams_of(cache.layers, images),
            length=state.length + 1,
            weights=_weights(context).view(images, width, -1),
        )
        return self.logits(hidden.view(images, width, -1)), following

    def added_to_body(self) -> Iterator[nn.Module]:
        """Yield the cross-attentions and adapters, which always learn."""
        return chain(super().added_to_body(), self._cross_attentions())

    def _cross_attentions(self) -> Iterator[GatedCrossAttention]:
        return (m.cross for m in self.body.modules() if isinstance(m, AdaptedLayer))

    def _project_memory(self, memory: Memory) -> tuple[KeysValues, ...]:
        memory.require_width(self.memory_dim, "decoder")
        memory.require_real_slots()
        slots = self.slots(memory.slots)
        return tuple(cross.attention.project(slots) for cross in self._cross_attentions())


def _weights(context: CrossAttentionContext) -> Tensor:
    assert context.weights is not None  # there is an adapted layer: cross_every is at least 1
    return context.weights
