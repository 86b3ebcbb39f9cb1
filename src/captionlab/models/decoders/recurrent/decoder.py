"""The recurrent decoder: one loop for every cell.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width,
E embedding width, H width of ``hidden``, V vocabulary, M rows of a ``Packing``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import NoAttention
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.recurrent.cell import (
    Keys,
    RecurrentCell,
    RecurrentState,
    StepOutput,
)
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.dropout import Dropout
from captionlab.models.few_rows import apply_linear
from captionlab.models.state import PER_BEAM, State


@dataclass(frozen=True, kw_only=True)
class RecurrentDecoderState(State):
    """The image's keys, and the cell's state (B, W, ...) of each beam.

    ``latent`` (B, W, Z) is what each beam of a latent decoder was begun with.
    """

    keys: Keys
    recurrent: RecurrentState = field(metadata=PER_BEAM)
    latent: Tensor | None = field(default=None, metadata=PER_BEAM)


class RecurrentDecoder(nn.Module):
    """A recurrent captioner around a cell, which has the attention.

    ``dropout`` falls on embedded words and on the output. ``readout`` makes what scores words of
    the embedded word and the cell's output; the cell does by itself otherwise
    (``RecurrentCell.project_output``). ``pooled_dim`` is the width of the memory's pooled vector, None
    where the cell does not read it. ``tie_weights`` scores words by their own embeddings (Press
    and Wolf 2017). Raises UserError where the widths forbid that.
    """

    def __init__(
        self,
        cell: RecurrentCell[Any],
        *,
        embedding: int,
        dropout: float,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        pooled_dim: int | None = None,
        readout: DeepOutput | None = None,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        self.pad_id = pad_id
        self.memory_dim = memory_dim
        self.pooled_dim = pooled_dim
        self.output_dim = cell.hidden if readout is None else embedding
        self.attention_penalty = float(cell.attention.doubly_stochastic)
        self.cell = cell
        self.words = nn.Embedding(vocabulary_size, embedding, padding_idx=pad_id)
        self.readout = readout
        self.output = nn.Linear(self.output_dim, vocabulary_size)
        self.dropout = Dropout(dropout)
        if tie_weights:
            self._tie()

    @property
    def reads_slots(self) -> bool:
        """Whether the memory's slots are read, or its pooled vector alone."""
        return not isinstance(self.cell.attention, NoAttention)

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
        memory.require_width(self.memory_dim, "decoder", self.pooled_dim)
        packing = Packing(tokens, self.pad_id)
        words = self.embed(packing.pack(tokens))
        output = self.cell.unroll(words, packing, self.cell.refine(memory).as_computed())
        return unpack_output(packing, self.project_output(words, output), output)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the unnormalized log-probabilities of the next word, (..., V) from (..., H)."""
        return apply_linear(self.output, hidden)

    def init_state(self, memory: Memory, width: int) -> RecurrentDecoderState:
        """Return the state before the first token, for ``width`` beams an image.

        Raises UserError for a memory of another width, or without a real slot.
        """
        memory.require_width(self.memory_dim, "decoder", self.pooled_dim)
        memory = self.cell.refine(memory).as_computed()
        keys = self.cell.keys(memory)
        recurrent = self.cell.init_state(memory, width)
        return RecurrentDecoderState(memory=memory, keys=keys, recurrent=recurrent)

    def step(
        self, token_ids: Tensor, state: RecurrentDecoderState
    ) -> tuple[Tensor, RecurrentDecoderState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        words = self.embed(token_ids, state.latent)
        output, recurrent = self.cell.advance(words, state.recurrent, state.keys, state.memory)
        following = replace(state, recurrent=recurrent, weights=output.weights)
        return self.logits(self.project_output(words, output)), following

    def embed(self, tokens: Tensor, latent: Tensor | None = None) -> Tensor:
        """Return embedded words (..., E) of ids (...); ``latent`` (..., Z) is a latent decoder's."""
        return self.dropout(self.cell.activate(self.words(tokens)))

    def project_output(self, words: Tensor, output: StepOutput) -> Tensor:
        """Return what ``logits`` reads (..., H) of embedded words and the cell's output."""
        if self.readout is not None:
            return self.dropout(self.readout(words, output))
        return self.dropout(self.cell.project_output(output))


class DeepOutput(nn.Module):
    """Word, state and context in one vector of an embedding's width: E y + L_h h + L_z z.

    Show, Attend and Tell, equation 7 (a tanh around it learned the built-in data more slowly).
    """

    def __init__(self, hidden: int, context: int, embedding: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden, embedding)
        self.context = nn.Linear(context, embedding, bias=False) if context else None

    def forward(self, words: Tensor, output: StepOutput) -> Tensor:
        """Return (..., E) from words (..., E), and hidden (..., H) and context (..., D) | None."""
        projected = words + self.hidden(output.hidden)
        return projected if self.context is None else projected + self.context(output.context)


def unpack_output(packing: Packing, hidden: Tensor, output: StepOutput) -> Decoded:
    """Return what a loop gave in its rows, (M, H) to be scored and the outputs, in its places."""
    if output.weights is None:
        return Decoded(packing.unpack(hidden))
    weights = packing.unpack(output.weights)
    if output.choice is None:
        return Decoded(packing.unpack(hidden), weights)
    chosen = output.weights.gather(-1, output.choice.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    # no choice, no gradient: the logarithm of a constant 1
    log_choice = chosen.masked_fill(output.choice < 0, 1.0).log()
    entropy = torch.special.entr(output.weights).sum(-1)
    return Decoded(
        packing.unpack(hidden), weights, packing.unpack(log_choice), packing.unpack(entropy)
    )
