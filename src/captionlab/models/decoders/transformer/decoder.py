"""Transformer captioners: the plain one and, through ``meshed``, the meshed-memory one.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width, H hidden
width, V vocabulary, L decoder layers, h heads, d = H / h, M real tokens of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict, cast

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.transformer.layers import (
    EncoderLayer,
    FeedForward,
    Norm,
    Positions,
    PositionTable,
    Residual,
    multi_head,
)
from captionlab.models.dropout import Dropout
from captionlab.models.packed_rows import PackedRows
from captionlab.models.state import PER_BEAM, State

Levels = tuple[KeysValues, ...]  # keys and values of each encoder layer that a decoder layer reads


@dataclass(frozen=True, kw_only=True)
class TransformerState(State):
    """What is kept between steps: the image's keys, and those of the words so far.

    ``projected_memory`` holds for each decoder layer the projected memory, made once an image; ``words`` for
    each layer keys and values (B, W, h, t, d) of the t tokens so far.
    """

    projected_memory: tuple[Levels, ...]
    mask: Tensor | None  # (B, N) of the real slots, None where all are
    words: tuple[KeysValues, ...] = field(default=(), metadata=PER_BEAM)
    length: int = 0


class LayerSizes(TypedDict):
    """What the layers of an encoder and a decoder have in common."""

    heads: int
    inner: int
    dropout: float
    norm: Norm


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the memory, feed-forward.

    With ``levels`` above 1 the layer reads that many encoder layers, each through a gate, and adds
    what they say: the mesh of Cornia et al. 2020, equations 5 to 7.
    """

    def __init__(
        self, width: int, *, heads: int, inner: int, dropout: float, norm: Norm, levels: int = 1
    ) -> None:
        super().__init__()
        self.self_attention = multi_head(width, heads, dropout=dropout)
        self.around_self = Residual(width, dropout, norm)
        self.cross_attention = multi_head(width, heads, dropout=dropout)
        gates = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(levels) if levels > 1)
        self.gates = cast("Sequence[nn.Linear]", gates)
        self.around_cross = Residual(width, dropout, norm)
        self.feed_forward = FeedForward(width, inner, dropout)
        self.around_feed_forward = Residual(width, dropout, norm)

    def project(self, levels: list[Tensor]) -> Levels:
        """Return the keys and values of each encoder layer's slots (B, N, H)."""
        return tuple(self.cross_attention.project(slots) for slots in levels)

    def attend_words(
        self, x: Tensor, rows: PackedRows, past: KeysValues | None
    ) -> tuple[Tensor, KeysValues]:
        """Return x (M, H) after self-attention, and keys and values (B K, h, t, d) of all words so far."""
        inputs = self.around_self.before(x)
        attention = self.self_attention
        captions = rows.shape[0] * rows.shape[1]
        query = rows.unpack(attention.query(inputs), captions)
        keys = attention.split(rows.unpack(attention.key(inputs), captions))
        values = attention.split(rows.unpack(attention.value(inputs), captions))
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        heads = attention.heads_of(query, (keys, values), mask=None, causal=past is None)
        attended = attention.project_output(inputs, rows.pack(heads))
        return self.around_self.after(x, attended), (keys, values)

    def attend_memory(
        self, x: Tensor, rows: PackedRows, levels: Levels, mask: Tensor | None, weigh: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return x (M, H) after the memory and the feed-forward; the weights (B, K T, N) if asked."""
        inputs = self.around_cross.before(x)
        attention = self.cross_attention
        # the words of all captions are queries of one image; every level is asked the same
        query = rows.unpack(attention.query(inputs), rows.shape[0])
        contexts, weights = [], None
        for index, level in enumerate(levels):
            if weigh and index == len(levels) - 1:
                heads, each = attention.heads_and_weights(query, level, mask=mask)
                weights = each.mean(1)
            else:
                heads = attention.heads_of(query, level, mask=mask)
            context = attention.project_output(inputs, rows.pack(heads))
            contexts.append(self._gated(index, inputs, context))
        context = contexts[0]
        if len(contexts) > 1:
            context = torch.stack(contexts).sum(0) / math.sqrt(len(contexts))
        x = self.around_cross.after(x, context)
        inner = self.feed_forward(self.around_feed_forward.before(x))
        return self.around_feed_forward.after(x, inner), weights

    def _gated(self, level: int, inputs: Tensor, context: Tensor) -> Tensor:
        if not self.gates:
            return context
        gate = self.gates[level](torch.cat([inputs, context], -1)).sigmoid()
        return gate * context


class TransformerDecoder(nn.Module):
    """A Transformer captioner (Vaswani et al. 2017; Sharma et al. 2018; Cornia et al. 2020).

    ``encoder_layers`` refine the memory once an image, ``layers`` write. ``norm`` pre or post;
    ``positions`` learned or sinusoidal, for captions up to ``max_length`` tokens;
    ``memory_slots`` learned slots behind those of the image in every encoder layer; ``meshed``
    lets each decoder layer read all encoder layers. ``attention`` must be NoAttention: a
    Transformer has its own. Raises UserError for values that do not fit.
    """

    reads_pooled = False  # the slots alone
    attention_penalty = 0.0

    def __init__(
        self,
        *,
        hidden: int = 512,
        heads: int = 8,
        layers: int = 6,
        encoder_layers: int = 6,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        norm: Norm = "pre",
        positions: Positions = "sinusoidal",
        max_length: int = 64,
        memory_slots: int = 0,
        meshed: bool = False,
        tie_weights: bool = False,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__()
        _check(attention, layers, encoder_layers, meshed)
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.output_dim = hidden
        self.meshed = meshed
        sizes: LayerSizes = {
            "heads": heads,
            "inner": feed_forward,
            "dropout": dropout,
            "norm": norm,
        }
        self.slots = nn.Sequential(
            nn.Linear(memory_dim, hidden), nn.ReLU(), Dropout(dropout), nn.LayerNorm(hidden)
        )
        encoder = nn.ModuleList(
            EncoderLayer(hidden, memory_slots=memory_slots, **sizes) for _ in range(encoder_layers)
        )
        self.encoder = cast("Sequence[EncoderLayer]", encoder)
        self.encoder_norm = nn.LayerNorm(hidden) if norm == "pre" else nn.Identity()
        self.words = nn.Embedding(vocabulary_size, hidden, padding_idx=pad_id)
        nn.init.normal_(self.words.weight, std=hidden**-0.5)
        self.positions = PositionTable(positions, max_length, hidden)
        self.dropout = Dropout(dropout)
        levels = encoder_layers if meshed else 1
        writers = nn.ModuleList(DecoderLayer(hidden, levels=levels, **sizes) for _ in range(layers))
        self.layers = cast("Sequence[DecoderLayer]", writers)
        self.norm = nn.LayerNorm(hidden) if norm == "pre" else nn.Identity()
        self.output = nn.Linear(hidden, vocabulary_size)
        if tie_weights:
            self.output.weight = self.words.weight

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return hidden (B, K, T, H) and the last layer's weights (B, K, T, N), mean of the heads.

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad); what stands at padding is finite
        and of no meaning. Raises UserError for a memory of another width or without a real slot.
        """
        mask = memory.mask_of_some()
        projected_memory = self._project_memory(memory, mask)
        rows = PackedRows.of(tokens, self.pad_id)
        x = self.dropout(rows.pack(self._embed(tokens, 0)))
        weights = None
        for layer, levels in zip(self.layers, projected_memory, strict=True):
            x, _ = layer.attend_words(x, rows, None)
            x, weights = layer.attend_memory(x, rows, levels, mask, weigh=layer is self.layers[-1])
        hidden = rows.unpack(self.norm(x), tokens.shape[0]).view(*tokens.shape, -1)
        return Decoded(hidden, None if weights is None else weights.view(*tokens.shape, -1))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H)."""
        return self.output(hidden)

    def init_state(self, memory: Memory, width: int) -> TransformerState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width or without a real slot.
        """
        layers = len(self.layers)
        attention = self.layers[0].self_attention
        size = self.output_dim // attention.heads
        shape = (memory.slots.shape[0], width, attention.heads, 0, size)
        nothing = memory.slots.new_zeros(shape)
        mask = memory.mask_of_some()
        return TransformerState(
            memory=memory,
            projected_memory=self._project_memory(memory, mask),
            mask=mask,
            words=((nothing, nothing),) * layers,
        )

    def step(self, token_ids: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        images = token_ids.shape[0]
        rows = PackedRows(torch.Size((*token_ids.shape, 1)))
        x = self.dropout(rows.pack(self._embed(token_ids.unsqueeze(-1), state.length)))
        words, weights = [], None
        for layer, levels, past in zip(
            self.layers, state.projected_memory, state.words, strict=True
        ):
            x, keys_values = layer.attend_words(
                x, rows, (past[0].flatten(0, 1), past[1].flatten(0, 1))
            )
            words.append((_beams(keys_values[0], images), _beams(keys_values[1], images)))
            x, weights = layer.attend_memory(
                x, rows, levels, state.mask, weigh=layer is self.layers[-1]
            )
        following = replace(state, words=tuple(words), length=state.length + 1, weights=weights)
        return self.logits(rows.unpack(self.norm(x), images)), following

    def _embed(self, tokens: Tensor, first: int) -> Tensor:
        scaled = self.words(tokens) * math.sqrt(self.output_dim)
        return scaled + self.positions(first, tokens.shape[-1])

    def _project_memory(self, memory: Memory, mask: Tensor | None) -> tuple[Levels, ...]:
        memory.require_width(self.memory_dim, "decoder")
        memory.require_real_slots()
        slots = self.slots(memory.slots)
        levels = []
        for layer in self.encoder:
            slots = layer(slots, mask)
            levels.append(slots)
        read = levels if self.meshed else [self.encoder_norm(slots)]
        return tuple(layer.project(read) for layer in self.layers)


def _beams(rows: Tensor, images: int) -> Tensor:
    return rows.unflatten(0, (images, -1))


def _check(attention: nn.Module, layers: int, encoder_layers: int, meshed: bool) -> None:
    if not isinstance(attention, NoAttention):
        raise UserError(
            f"a Transformer has attention of its own and cannot take {type(attention).__name__}: "
            "say model/attention=none (model.decoder.heads sets its heads)"
        )
    if layers < 1:
        raise UserError(f"a Transformer needs at least one layer, got layers={layers}")
    if encoder_layers < 0 or (meshed and encoder_layers < 1):
        least = 1 if meshed else 0
        raise UserError(f"encoder_layers={encoder_layers} must be at least {least}")
