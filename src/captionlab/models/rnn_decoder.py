"""LSTM and GRU decoders, with or without attention.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width,
E embedding width, H width of ``hidden``, V vocabulary, M rows of a ``Packing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from captionlab.errors import UserError, did_you_mean
from captionlab.models.attention import Attention, NoAttention
from captionlab.models.cells import CELLS
from captionlab.models.memory import Memory
from captionlab.models.packing import Packing
from captionlab.models.recurrence import Attentive, ImageFirst, repeat
from captionlab.models.state import PER_BEAM, State


@dataclass(frozen=True, kw_only=True)
class RNNState(State):
    """An RNN decoder's memory: the layers' states (B, W, L, H), the image's keys (B, N, A)."""

    keys: Tensor | None
    hidden: Tensor = field(metadata=PER_BEAM)
    cell: Tensor | None = field(default=None, metadata=PER_BEAM)

    @property
    def recurrent(self) -> tuple[Tensor, ...]:
        """The layers' states as the cells want them: (hidden, cell) or (hidden,)."""
        return (self.hidden,) if self.cell is None else (self.hidden, self.cell)

    def after(self, recurrent: tuple[Tensor, ...], weights: Tensor | None) -> RNNState:
        """Return the state that follows this one."""
        hidden, cell = recurrent if len(recurrent) > 1 else (recurrent[0], None)
        return replace(self, hidden=hidden, cell=cell, weights=weights)


class RNNDecoder(nn.Module):
    """A recurrent captioner: Show and Tell without attention, Show, Attend and Tell with it.

    ``cell`` is lstm or gru; ``dropout`` falls on embedded words, between layers and on the output.
    ``deep_output`` reads words, state and context together, L_w E y + L_h h + L_z z (Show, Attend
    and Tell, equation 7); ``hidden`` is then as wide as an embedding. ``tie_weights`` scores words
    by their own embeddings (Press and Wolf 2017). At build time come ``vocabulary_size``,
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
        tie_weights: bool = False,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: Attention | NoAttention,
    ) -> None:
        super().__init__()
        _check(cell, layers, hidden, memory_dim, attention)
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
            self.recurrence = Attentive(cell, attention, **sizes)
            context = memory_dim
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

    def forward(self, memory: Memory, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``logits`` reads (B, K, T, H) and the attention weights (B, K, T, N) | None.

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad). After the end of a caption both
        results are undefined but finite: those steps are skipped where that saves time. Raises
        UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        packing = Packing(tokens, self.pad_id)
        words = self.dropout(self.words(packing.pack(tokens)))
        hidden, context, weights = self.recurrence.run(words, packing, memory)
        hidden = packing.unpack(self._read(words, hidden, context))
        return hidden, None if weights is None else packing.unpack(weights)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H)."""
        return self.output(hidden)

    def start(self, memory: Memory, width: int) -> RNNState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder")
        keys = self.recurrence.keys(memory)
        begun = repeat(self.recurrence.begin(memory), width)
        return RNNState(memory=memory, keys=keys, hidden=begun[0]).after(begun, None)

    def step(self, token_ids: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        words = self.dropout(self.words(token_ids))
        (hidden, context, weights), recurrent = self.recurrence.step(
            words, state.recurrent, state.keys, state.memory
        )
        return self.logits(self._read(words, hidden, context)), state.after(recurrent, weights)

    def _read(self, words: Tensor, hidden: Tensor, context: Tensor | None) -> Tensor:
        if self.readout is not None:
            hidden = self.readout(words, hidden, context)
        return self.dropout(hidden)


class DeepOutput(nn.Module):
    """Words, state and context as one vector: L_w E y + L_h h + L_z z, of an embedding's width."""

    def __init__(self, hidden: int, context: int, embedding: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden, embedding)
        self.context = nn.Linear(context, embedding, bias=False) if context else None

    def forward(self, words: Tensor, hidden: Tensor, context: Tensor | None) -> Tensor:
        """Return (..., E) from words (..., E), hidden (..., H) and context (..., D) | None."""
        output = words + self.hidden(hidden)
        return output if self.context is None else output + self.context(context)


def _check(
    cell: str, layers: int, hidden: int, memory_dim: int, attention: Attention | NoAttention
) -> None:
    if cell not in CELLS:
        raise UserError(f"there is no recurrent cell {cell!r}: {did_you_mean(cell, CELLS)}")
    if layers < 1:
        raise UserError(f"a decoder needs at least one layer, got layers={layers}")
    built = (attention.query_dim, attention.memory_dim)
    if built != (hidden, memory_dim):
        raise UserError(
            f"the attention was built for queries {built[0]} and a memory {built[1]} wide, but the "
            f"decoder has hidden={hidden} and memory_dim={memory_dim}"
        )
