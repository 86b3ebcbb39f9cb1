"""LSTM and GRU decoders, with or without attention.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width,
E embedding width, H width of ``hidden``, V vocabulary, M rows of a ``Packing``.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.attention.families import AdaptiveAttention
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.recurrent.cells import CELLS
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.decoders.recurrent.recurrence import (
    Attend,
    Attentive,
    ImageFirst,
    Look,
    RNNState,
)


class RNNDecoder(nn.Module):
    """A recurrent captioner: Show and Tell without attention, Show, Attend and Tell with it.

    ``cell`` is lstm or gru; ``dropout`` falls on embedded words, between layers and on the output.
    ``deep_output`` scores words by ``DeepOutput``, by the state alone otherwise; ``attend`` says
    when to look, before or after the state moves on (see ``Attentive``). ``tie_weights`` scores
    words by their own embeddings (Press and Wolf 2017). At build time come ``vocabulary_size``,
    ``pad_id``, ``memory_dim`` and the built ``attention``. Raises UserError for an unknown cell,
    and for sizes that do not fit.
    """

    def __init__(
        self,
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
        attention: Attention | NoAttention,
    ) -> None:
        super().__init__()
        _check(cell, layers, attend, deep_output)
        _check_attention(attention, hidden, memory_dim)
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.output_dim = embedding if deep_output else hidden
        self.attention_penalty = float(attention.doubly_stochastic)
        sizes: dict[str, Any] = {
            "embedding": embedding,
            "hidden": hidden,
            "layers": layers,
            "dropout": dropout,
            "memory_dim": memory_dim,
        }
        self.recurrence: Attentive | ImageFirst
        if isinstance(attention, Attention):
            self.recurrence = Attentive(cell, attention, attend=attend, **sizes)
            context = attention.context_dim
        else:
            self.recurrence = ImageFirst(cell, **sizes)
            context = 0
        self.words = nn.Embedding(vocabulary_size, embedding, padding_idx=pad_id)
        self.readout = DeepOutput(hidden, context, embedding) if deep_output else None
        self.output = nn.Linear(self.output_dim, vocabulary_size)
        self.dropout = nn.Dropout(dropout)
        if tie_weights:
            self._tie()

    def _tie(self) -> None:
        if self.output_dim != self.words.embedding_dim:
            raise UserError(
                f"tie_weights needs hidden ({self.output_dim}) equal to embedding "
                f"({self.words.embedding_dim}), or deep_output=true"
            )
        # tied, the usual N(0, 1) of an embedding would make logits of sqrt(E)
        nn.init.normal_(self.words.weight, std=self.output_dim**-0.5)
        self.output.weight = self.words.weight

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return what ``logits`` reads (B, K, T, H) and the attention weights (B, K, T, N) | None.

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad). After the end of a caption both
        results are undefined but finite: those steps are skipped where that saves time. Raises
        UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        packing = Packing(tokens, self.pad_id)
        words = self.dropout(self.words(packing.pack(tokens)))
        look = self.recurrence.run(words, packing, memory)
        return decoded(packing, self._read(words, look), look)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H)."""
        return self.output(hidden)

    def init_state(self, memory: Memory, width: int) -> RNNState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        return self.recurrence.init_state(memory, width)

    def step(self, token_ids: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        words = self.dropout(self.words(token_ids))
        look, state = self.recurrence.step(words, state)
        return self.logits(self._read(words, look)), state

    def _read(self, words: Tensor, look: Look) -> Tensor:
        output = look.hidden if self.readout is None else self.readout(words, look)
        return self.dropout(output)


def decoded(packing: Packing, hidden: Tensor, look: Look) -> Decoded:
    """Return what a loop found in its rows, (M, H) to be scored and the looks, in its places."""
    if look.weights is None:
        return Decoded(packing.unpack(hidden))
    weights = packing.unpack(look.weights)
    if look.choice is None:
        return Decoded(packing.unpack(hidden), weights)
    chosen = look.weights.gather(-1, look.choice.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    # no choice, no gradient: the logarithm of a constant 1
    log_choice = chosen.masked_fill(look.choice < 0, 1.0).log()
    entropy = torch.special.entr(look.weights).sum(-1)
    return Decoded(
        packing.unpack(hidden), weights, packing.unpack(log_choice), packing.unpack(entropy)
    )


class DeepOutput(nn.Module):
    """Word, state and context in one vector of an embedding's width: E y + L_h h + L_z z.

    Show, Attend and Tell, equation 7 (a tanh around it learned the built-in data more slowly).
    """

    def __init__(self, hidden: int, context: int, embedding: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden, embedding)
        self.context = nn.Linear(context, embedding, bias=False) if context else None

    def forward(self, words: Tensor, look: Look) -> Tensor:
        """Return (..., E) from words (..., E), and hidden (..., H) and context (..., D) | None."""
        output = words + self.hidden(look.hidden)
        return output if self.context is None else output + self.context(look.context)


def _check(cell: str, layers: int, attend: str, deep_output: bool) -> None:
    if cell not in CELLS:
        raise UserError(f"there is no recurrent cell {cell!r}: {did_you_mean(cell, CELLS)}")
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
