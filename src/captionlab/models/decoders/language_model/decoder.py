"""A pretrained causal language model with cross-attention to the memory: GPT-2, or any other of Hugging Face.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width, H the
language model's width, V vocabulary, R rows (B K or B W), h heads, d = H / h, t tokens so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.hugging_face import entries_of, transformers
from captionlab.core.memory import Memory
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.language_model.adapter import (
    AdaptedLayer,
    CrossAttentionContext,
    GatedCrossAttention,
    Recomputed,
    cross_attention_context,
)
from captionlab.models.decoders.language_model.library import (
    KEY,
    NUM_SPECIAL,
    causal_model,
    choose_trainable,
    edge_id,
    layers_of,
    require_plain_head,
    require_sizes,
)
from captionlab.models.state import PER_BEAM, State


@dataclass(frozen=True, kw_only=True)
class LanguageModelState(State):
    """The memory projected for each adapted layer, and keys and values (B, W, h, t, d) of words."""

    keys_values: tuple[KeysValues, ...]
    words: tuple[KeysValues, ...] = field(default=(), metadata=PER_BEAM)
    length: int = 0


class LanguageModelDecoder(nn.Module):
    """A causal language model with gated cross-attention to the memory before its layers.

    ``name`` is a Hugging Face name or a folder; ``weights`` DEFAULT loads the model's own, None
    begins with random ones; ``architecture`` holds entries of a configuration (model_type, n_layer
    and so on) and replaces that of ``name``. Of the language model, ``trainable`` none keeps all as
    it is, a number trains that many last layers, all everything; the cross-attention, before every
    ``cross_every``-th layer, always learns. ``activation_checkpointing`` trains in less memory, by
    computing each layer twice. Text needs the model's own pieces
    (data/tokenizer=pretrained), their ids moved up by 4; with random weights any tokenizer will do.
    ``attention`` must be NoAttention. Raises UserError for values that do not fit and a model that
    cannot be had.
    """

    reads_pooled = False  # the slots alone
    attention_penalty = 0.0

    def __init__(
        self,
        name: str = "gpt2",
        *,
        weights: Literal["DEFAULT"] | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: int | Literal["none", "all"] = "none",
        cross_every: int = 1,
        heads: int = 8,
        dropout: float = 0.1,
        activation_checkpointing: bool = False,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__()
        if not isinstance(attention, NoAttention):
            raise UserError(
                "a language model has attention of its own and cannot take "
                f"{type(attention).__name__}: say model/attention=none"
            )
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.vocabulary_size = vocabulary_size
        model = causal_model(name, weights, architecture, vocabulary_size)
        config = model.config
        if getattr(model, "_is_stateful", False):
            raise UserError(
                f"{KEY}.name={name}: {type(model).__name__} keeps no keys and values of its words, "
                "by which beams are told apart; choose another language model, such as gpt2"
            )
        self.architecture = entries_of(config)
        self._new_cache = transformers(KEY).DynamicCache
        self.bos = edge_id(config.bos_token_id, config.eos_token_id)
        self.eos = edge_id(config.eos_token_id, config.bos_token_id)
        self.longest = int(getattr(config, "max_position_embeddings", 0) or 2**31)
        self.body = model.base_model
        self.output = model.get_output_embeddings()
        self.output_dim = self.output.in_features
        width = config.hidden_size
        rows = self.words.num_embeddings
        require_sizes(name, weights, vocabulary_size, rows, width, heads, cross_every)
        if weights is not None:
            require_plain_head(model, name)
        layers = layers_of(self.body, config.num_hidden_layers)
        choose_trainable(model, layers, trainable)
        self.trainable = trainable
        self.slots = nn.Sequential(nn.Linear(memory_dim, width), nn.LayerNorm(width))
        for place, index in enumerate(range(0, len(layers), cross_every)):
            cross = GatedCrossAttention(width, heads, dropout)
            layers[index] = AdaptedLayer(layers[index], cross, place)
        if activation_checkpointing:
            for layer in layers:
                layer.forward = Recomputed(layer)
        self.train()

    @property
    def words(self) -> Any:
        """The language model's own embeddings, whose row i belongs to token i + 4."""
        return self.body.get_input_embeddings()

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a language model that does not learn drops nothing out."""
        super().train(mode)
        if self.trainable in ("none", 0):
            self.body.eval()
            for cross in self._cross_attentions():
                cross.train(mode)
        return self

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H) and the last adapted layer's weights (B, K, T, N).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad); what stands at padding is finite
        and of no meaning. Raises UserError for a memory of another width or without a real slot,
        and for captions longer than the language model's positions.
        """
        images, captions, length = tokens.shape
        self._require_length(length)
        context = CrossAttentionContext(self._project_memory(memory), memory.mask)
        with cross_attention_context(context):
            output = self.body(inputs_embeds=self._embed(tokens.flatten(0, 1)), use_cache=False)
        hidden = output.last_hidden_state.view(images, captions, length, -1)
        return Decoded(hidden, _weights(context).view(images, captions, length, -1))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H).

        The language model's own end is scored as eos; pad, bos, unk and its own id get the least
        score of all, as nothing is ever to be said with them.
        """
        own = self.output(hidden)
        scores = own[..., : self.vocabulary_size - NUM_SPECIAL]
        least = scores.detach().amin(-1)
        ends = torch.stack([least, least, own[..., self.eos], least], -1)
        every = torch.cat([ends, scores], -1)
        for edge in {self.bos, self.eos}:
            if edge < self.vocabulary_size - NUM_SPECIAL:
                every[..., NUM_SPECIAL + edge] = least
        return every

    def init_state(self, memory: Memory, width: int) -> LanguageModelState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width or without a real slot.
        """
        return LanguageModelState(memory=memory, keys_values=self._project_memory(memory))

    def step(
        self, token_ids: Tensor, state: LanguageModelState
    ) -> tuple[Tensor, LanguageModelState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images, width = token_ids.shape
        self._require_length(state.length + 1)
        cache = self._new_cache()
        for index, (keys, values) in enumerate(state.words):
            cache.update(keys.flatten(0, 1), values.flatten(0, 1), index)
        context = CrossAttentionContext(state.keys_values, state.memory.mask)
        with cross_attention_context(context):
            output = self.body(
                inputs_embeds=self._embed(token_ids.view(-1, 1)),
                past_key_values=cache,
                use_cache=True,
            )
        words = tuple(
            (layer.keys.unflatten(0, (images, width)), layer.values.unflatten(0, (images, width)))
            for layer in cache.layers
        )
        weights = _weights(context).view(images, width, -1)
        hidden = output.last_hidden_state.view(images, width, -1)
        following = replace(state, words=words, length=state.length + 1, weights=weights)
        return self.logits(hidden), following

    def _embed(self, tokens: Tensor) -> Tensor:
        own = (tokens - NUM_SPECIAL).clamp_min(0)
        # every caption begins where the language model's texts begin
        return self.words(torch.where(tokens < NUM_SPECIAL, self.bos, own))

    def _cross_attentions(self) -> Iterator[GatedCrossAttention]:
        return (m.cross for m in self.body.modules() if isinstance(m, AdaptedLayer))

    def _project_memory(self, memory: Memory) -> tuple[KeysValues, ...]:
        memory.require_width(self.memory_dim, "decoder")
        memory.require_real_slots()
        slots = self.slots(memory.slots)
        return tuple(cross.attention.project(slots) for cross in self._cross_attentions())

    def _require_length(self, length: int) -> None:
        if length > self.longest:
            raise UserError(
                f"a caption of {length} tokens is longer than the language model's "
                f"{self.longest} positions: lower data.max_length or decoding.max_length"
            )


def _weights(context: CrossAttentionContext) -> Tensor:
    assert context.weights is not None  # there is an adapted layer: require_sizes asks for one
    return context.weights
