"""LSTM and GRU captioners: Show and Tell without attention, Show, Attend and Tell with it."""

from __future__ import annotations

from typing import Any, TypedDict, get_args

from captionlab.core.errors import UserError, did_you_mean
from captionlab.models.attention.adaptive import AdaptiveAttention
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.decoders.recurrent.attentive import Attend, AttentiveCell
from captionlab.models.decoders.recurrent.cell import RecurrentCell
from captionlab.models.decoders.recurrent.decoder import DeepOutput, RecurrentDecoder
from captionlab.models.decoders.recurrent.image_first import ImageFirstCell
from captionlab.models.decoders.recurrent.layers import LAYERS


class RNNParts(TypedDict):
    """What ``RecurrentDecoder`` is built of."""

    cell: RecurrentCell[Any]
    readout: DeepOutput | None


def rnn_decoder(
    cell: str = "lstm",
    *,
    layers: int = 1,
    hidden: int = 512,
    embedding: int = 512,
    dropout: float = 0.5,
    deep_output: bool = False,
    attend: Attend = "before",
    tie_weights: bool = False,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    pooled_dim: int | None = None,
    attention: Attention | NoAttention,
) -> RecurrentDecoder:
    """Return a recurrent captioner whose cell is lstm or gru.

    ``dropout`` falls on embedded words, between layers and on the output. ``deep_output`` scores
    words by ``DeepOutput``, by the state alone otherwise; ``attend`` says when to look, before or
    after the state moves on (see ``AttentiveCell``). ``tie_weights`` scores words by their own
    embeddings (Press and Wolf 2017). At build time come ``vocabulary_size``, ``pad_id``,
    ``memory_dim``, ``pooled_dim`` (None: ``memory_dim``) and the built ``attention``. Raises
    UserError for an unknown cell, and for sizes that do not fit.
    """
    pooled_dim = memory_dim if pooled_dim is None else pooled_dim
    parts = rnn_parts(
        cell,
        attention,
        layers=layers,
        hidden=hidden,
        embedding=embedding,
        dropout=dropout,
        deep_output=deep_output,
        attend=attend,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )
    return RecurrentDecoder(
        **parts,
        embedding=embedding,
        dropout=dropout,
        tie_weights=tie_weights,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )


def rnn_parts(
    cell: str,
    attention: Attention | NoAttention,
    *,
    layers: int,
    hidden: int,
    embedding: int,
    dropout: float,
    deep_output: bool,
    attend: Attend,
    memory_dim: int,
    pooled_dim: int,
) -> RNNParts:
    """Return the cell and the readout of ``rnn_decoder``; raises UserError as that does."""
    _check(cell, layers, attend, deep_output)
    _check_attention(attention, hidden, memory_dim)
    if isinstance(attention, Attention):
        context = attention.context_dim
        built: RecurrentCell[Any] = AttentiveCell(
            cell,
            attention,
            attend=attend,
            embedding=embedding,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            pooled_dim=pooled_dim,
        )
    else:
        context = 0
        built = ImageFirstCell(
            cell,
            attention,
            embedding=embedding,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            pooled_dim=pooled_dim,
        )
    readout = DeepOutput(hidden, context, embedding) if deep_output else None
    return {"cell": built, "readout": readout}


def _check(cell: str, layers: int, attend: str, deep_output: bool) -> None:
    if cell not in LAYERS:
        raise UserError(f"there is no recurrent cell {cell!r}: {did_you_mean(cell, LAYERS)}")
    if layers < 1:
        raise UserError(f"a decoder needs at least one layer, got layers={layers}")
    if attend not in get_args(Attend):
        hint = did_you_mean(str(attend), get_args(Attend))
        raise UserError(f"a decoder cannot attend={attend!r}: {hint}")
    if attend == "after" and not deep_output:
        raise UserError(
            "a decoder that looks after its state has moved on (attend=after) can show what it saw "
            "only to a deep output: set deep_output=true"
        )


def _check_attention(attention: Attention | NoAttention, hidden: int, memory_dim: int) -> None:
    if isinstance(attention, AdaptiveAttention):
        raise UserError(
            "AdaptiveAttention looks at a sentinel, which only model/decoder=adaptive makes: "
            "say model=adaptive, or another model/attention"
        )
    built = (attention.query_dim, attention.memory_dim)
    if built != (hidden, memory_dim):
        raise UserError(
            f"the attention was built for queries {built[0]} and a memory {built[1]} wide, but the "
            f"decoder has hidden={hidden} and memory_dim={memory_dim}"
        )
