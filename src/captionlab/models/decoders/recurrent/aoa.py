"""AoANet (Huang et al. 2019).

Legend: B images, N memory slots, W captions or beams, b x k those of one step, E embedding width,
H hidden width, M rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.attention_on_attention import AttentionOnAttention
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
from captionlab.models.decoders.recurrent.layers import Advance, LSTMLayer
from captionlab.models.dropout import Dropout


class AoACell(RecurrentCell[Advance]):
    """Attention on attention refines the memory, and is what the LSTM looks with.

    Huang et al. 2019, section 3.2: ``refiner_layers`` of LayerNorm(A + AoA(A, A, A)) over the
    slots; the LSTM reads [word, mean of the slots + last context]; the context scores the words.
    The state is hidden, cell and the last context.
    """

    def __init__(
        self,
        attention: Attention,
        *,
        embedding: int,
        hidden: int,
        refiner_layers: int,
        heads: int,
        dropout: float,
        memory_dim: int,
    ) -> None:
        super().__init__(hidden, require_attention("AoADecoder", attention))
        if attention.context_dim != hidden:
            raise UserError(
                f"AoADecoder adds contexts to a memory {hidden} wide, but the attention's are "
                f"{attention.context_dim}: say model/attention=aoa or multi_head"
            )
        self.slots = nn.Sequential(nn.Linear(memory_dim, hidden), nn.ReLU(), Dropout(dropout))
        self.refiner = nn.ModuleList(
            AttentionOnAttention(heads, dropout=0.1, query_dim=hidden, memory_dim=hidden)
            for _ in range(refiner_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(refiner_layers))
        self.lstm = LSTMLayer(embedding, hidden, hidden)

    def refine(self, memory: Memory) -> Memory:
        """Return the memory with slots and their mean (B, N, H)."""
        slots = self.slots(memory.slots)
        refiner = cast(Iterable[AttentionOnAttention], self.refiner)
        for layer, norm in zip(refiner, self.norms, strict=True):
            slots = norm(slots + layer.attend(slots, layer.project(slots), mask=memory.mask))
        real = memory.mask.unsqueeze(-1)
        mean = (slots * real).sum(1) / real.sum(1).clamp_min(1)
        return Memory(slots, mean, memory.mask, memory.boxes)

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return states and a last context of zeros."""
        return self.zeros(memory, width, 3)

    def precompute(self, words: Tensor, rows: StepRows, memory: Memory) -> Advance:
        """Return the LSTM's function of step, context and state."""
        return self.lstm.precompute(words, rows.step_counts)

    def step(
        self, inputs: Advance, index: int, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return hidden and context (b, k, H) and weights, and the state after."""
        hidden, cell, context = state
        hidden, cell = inputs(index, context + memory.pooled.unsqueeze(1), (hidden, cell))
        attended = self.attention(hidden, keys, memory)
        return StepOutput(hidden, *attended), (hidden, cell, attended[0])

    def project_output(self, output: StepOutput) -> Tensor:
        """Return the context, which alone scores the words (equation 12)."""
        assert output.context is not None  # the cell looks in every step
        return output.context


def aoa(
    *,
    hidden: int = 1024,
    embedding: int = 1024,
    refiner_layers: int = 6,
    heads: int = 8,
    dropout: float = 0.5,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    attention: Attention,
) -> RecurrentDecoder:
    """Return AoANet: a ``RecurrentDecoder`` around an ``AoACell``."""
    cell = AoACell(
        attention,
        embedding=embedding,
        hidden=hidden,
        refiner_layers=refiner_layers,
        heads=heads,
        dropout=dropout,
        memory_dim=memory_dim,
    )
    return RecurrentDecoder(
        cell,
        embedding=embedding,
        dropout=dropout,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
    )


# its attention reads slots as wide as the decoder, whatever the memory
aoa.refines_memory = True  # type: ignore[attr-defined]
# its pooled image is the mean of the slots that it refined
aoa.reads_pooled = False  # type: ignore[attr-defined]
