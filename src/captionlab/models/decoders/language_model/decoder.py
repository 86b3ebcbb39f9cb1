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

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import entries_of, load_config, pretrained, transformers
from captionlab.core.memory import Memory
from captionlab.core.special_tokens import SpecialTokens
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
from captionlab.models.state import PER_BEAM, State

KEY = "model.decoder"
# these stand before the language model's own ids
NUM_SPECIAL = SpecialTokens.COUNT


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
        model = _causal_model(name, weights, architecture, vocabulary_size)
        config = model.config
        if getattr(model, "_is_stateful", False):
            raise UserError(
                f"{KEY}.name={name}: {type(model).__name__} keeps no keys and values of its words, "
                "by which beams are told apart; choose another language model, such as gpt2"
            )
        self.architecture = entries_of(config)
        self._new_cache = transformers(KEY).DynamicCache
        self.bos = _edge(config.bos_token_id, config.eos_token_id)
        self.eos = _edge(config.eos_token_id, config.bos_token_id)
        self.longest = int(getattr(config, "max_position_embeddings", 0) or 2**31)
        self.body = model.base_model
        self.output = model.get_output_embeddings()
        self.output_dim = self.output.in_features
        width = config.hidden_size
        rows = self.words.num_embeddings
        _require_sizes(name, weights, vocabulary_size, rows, width, heads, cross_every)
        if weights is not None:
            _require_same(model, name)
        layers = _layers(self.body, config.num_hidden_layers)
        _choose_trainable(model, layers, trainable)
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
    assert context.weights is not None  # there is an adapted layer: _require_sizes asks for one
    return context.weights


def _causal_model(
    name: str,
    weights: str | None,
    architecture: dict[str, object] | None,
    vocabulary_size: int,
) -> Any:
    factory = transformers(KEY).AutoModelForCausalLM
    if weights is not None:
        more = {} if architecture is None else {"config": load_config(KEY, name, architecture)}
        return pretrained(KEY, factory, name, **more)
    if architecture is None:
        # the library's defaults for this type are GPT-2's own sizes: nothing to look for
        known = {"model_type": "gpt2"} if name == "gpt2" else None
        entries = entries_of(load_config(KEY, name, known))
        del entries["vocab_size"]
    else:
        entries = dict(architecture)
    if "vocab_size" not in entries:
        # behind the words a beginning and an end of its own
        words = vocabulary_size - NUM_SPECIAL
        entries |= {"vocab_size": words + 2, "bos_token_id": words, "eos_token_id": words + 1}
    try:
        model = factory.from_config(load_config(KEY, name, entries))
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = first_line(error)
        raise UserError(
            f"{KEY}.architecture={architecture} is no causal language model: {reason}"
        ) from error
    return model


def _edge(first: int | list[int] | None, second: int | list[int] | None) -> int:
    for value in (first, second):
        number = value[0] if isinstance(value, list | tuple) else value
        if number is not None:
            return int(number)
    raise UserError(
        f"{KEY}: the language model names neither bos_token_id nor eos_token_id: captions could "
        "not end; add them to its config.json or to model.decoder.architecture"
    )


def _require_sizes(
    name: str,
    weights: str | None,
    vocabulary_size: int,
    rows: int,
    width: int,
    heads: int,
    cross_every: int,
) -> None:
    words = vocabulary_size - NUM_SPECIAL
    # some models pad their table to a round number of rows
    if words > rows or (weights is not None and rows - words > max(1024, rows // 50)):
        raise UserError(
            f"{KEY}.name={name} has words for {rows:,} ids and the tokenizer writes {words:,}: "
            "say data/tokenizer=pretrained, or model.decoder.weights=null with an architecture"
        )
    if heads < 1 or width % heads:
        raise UserError(f"{KEY}.heads={heads} does not divide the language model's width {width}")
    if cross_every < 1:
        raise UserError(f"{KEY}.cross_every={cross_every} must be at least 1")


def _require_same(model: Any, name: str) -> None:
    """Refuse a model whose whole does more than embed, body and head do one after the other."""
    ids = torch.arange(5).unsqueeze(0)
    model.eval()
    with torch.no_grad():
        theirs = model(ids).logits
        body = model.base_model(inputs_embeds=model.get_input_embeddings()(ids), use_cache=False)
        ours = model.get_output_embeddings()(body.last_hidden_state)
    if not torch.allclose(theirs, ours, atol=1e-3, rtol=1e-3):
        raise UserError(
            f"{KEY}.name={name}: {type(model).__name__} changes its scores after its head, which "
            "this decoder does not follow; choose another language model, such as gpt2"
        )


def _layers(body: nn.Module, count: int) -> nn.ModuleList:
    for module in body.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UserError(f"{KEY}: {type(body).__name__} has no list of {count} layers to look from")


def _choose_trainable(model: nn.Module, layers: nn.ModuleList, trainable: int | str) -> None:
    count = len(layers)
    if isinstance(trainable, str):
        if trainable not in ("none", "all"):
            raise UserError(f"{KEY}.trainable={trainable!r} must be none, all, or a number")
    elif not 0 <= trainable <= count:
        raise UserError(f"{KEY}.trainable={trainable} must be 0 to {count}, the model's layers")
    model.requires_grad_(trainable == "all")
    if isinstance(trainable, int) and trainable:
        for layer in layers[-trainable:]:
            layer.requires_grad_(True)
