"""Att2in (Rennie et al. 2017).

Legend: B images, W captions or beams, b x k those of one step, D memory width, C context width,
E embedding width, H hidden width, M rows of all steps together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention
from captionlab.models.decoders.recurrent.cell import (
    Keys,
    RecurrentCell,
    RecurrentState,
    StepOutput,
    StepRows,
    require_attention,
)
from captionlab.models.decoders.recurrent.decoder import RecurrentDecoder
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear
from captionlab.models.few_rows import apply_linear


class Att2inCell(RecurrentCell[tuple[LoopLinear, LoopLinear]]):
    """An LSTM whose context enters the cell's input alone, through a maxout (Rennie et al. 2017).

    Section 2.2, "Att2in": gates of word and state; cell input = maxout(W x + U h + W' context).
    """

    def __init__(self, attention: Attention, *, embedding: int, hidden: int) -> None:
        super().__init__(hidden, require_attention("Att2in", attention))
        # input, forget and output gate, and the two candidates of the maxout
        self.word = nn.Linear(embedding, 5 * hidden)
        self.recurrent = nn.Linear(hidden, 5 * hidden, bias=False)
        self.context = nn.Linear(attention.context_dim, 2 * hidden)

    def activate(self, words: Tensor) -> Tensor:
        """Return rectified embedded words, as in the authors' code."""
        return words.relu()

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return a hidden and a cell state of zeros."""
        return self.zeros(memory, width, 2)

    def precompute(
        self, words: Tensor, rows: StepRows, memory: Memory
    ) -> tuple[LoopLinear, LoopLinear]:
        """Return the two products of the loop: of the state, and of the context."""
        base = apply_linear(self.word, words)
        gates = LoopLinear(self.recurrent, base=base, sizes=rows.step_counts)
        return gates, LoopLinear(self.context, sizes=rows.step_counts)

    def step(
        self,
        inputs: tuple[LoopLinear, LoopLinear],
        index: int,
        state: RecurrentState,
        keys: Keys,
        memory: Memory,
    ) -> tuple[StepOutput, RecurrentState]:
        """Return hidden (b, k, H), context (b, k, C) and weights, and the state after."""
        hidden, cell = state
        from_state, from_context = inputs
        attended = self.attention(hidden, keys, memory)
        shape = hidden.shape[:2]
        sums = from_state(index, hidden.flatten(0, 1)).unflatten(0, shape)
        i, f, o = sums[..., : 3 * self.hidden].sigmoid().chunk(3, dim=-1)
        context = from_context(index, attended[0].flatten(0, 1)).unflatten(0, shape)
        candidates = sums[..., 3 * self.hidden :] + context
        cell = f * cell + i * torch.maximum(*candidates.chunk(2, dim=-1))
        hidden = o * cell.tanh()
        return StepOutput(hidden, *attended), (hidden, cell)


def att2in(
    *,
    hidden: int = 512,
    embedding: int = 512,
    dropout: float = 0.5,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    attention: Attention,
) -> RecurrentDecoder:
    """Return Att2in: a ``RecurrentDecoder`` around an ``Att2inCell``."""
    return RecurrentDecoder(
        Att2inCell(attention, embedding=embedding, hidden=hidden),
        embedding=embedding,
        dropout=dropout,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
    )


# its attention alone brings the image in
att2in.reads_pooled = False  # type: ignore[attr-defined]
