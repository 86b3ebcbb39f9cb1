"""Adaptive attention with a visual sentinel (Lu et al. 2017).

Legend: B images, W captions or beams, b x k those of one step, D memory width, E embedding width,
H hidden width, M rows of all steps together.
"""

from __future__ import annotations

from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.attention.adaptive import AdaptiveAttention
from captionlab.models.decoders.recurrent.cell import (
    Keys,
    RecurrentCell,
    RecurrentState,
    StepOutput,
    StepRows,
    require_attention,
)
from captionlab.models.decoders.recurrent.decoder import RecurrentDecoder
from captionlab.models.decoders.recurrent.layers import lstm_update
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear
from captionlab.models.few_rows import apply_linear


class AdaptiveCell(RecurrentCell[LoopLinear]):
    """An LSTM that knows when to look: it makes a visual sentinel (Lu et al. 2017).

    Equations 4 to 13: input [word, image]; sentinel = sigmoid(W_x x + W_h h') * tanh(cell); the
    next word is scored by context + state.
    """

    def __init__(
        self, attention: AdaptiveAttention, *, embedding: int, hidden: int, pooled_dim: int
    ) -> None:
        super().__init__(hidden, require_attention("AdaptiveDecoder", attention, sentinel=True))
        # four gates of the LSTM and the sentinel's
        self.word = nn.Linear(embedding, 5 * hidden)
        self.image = nn.Linear(pooled_dim, embedding)
        self.from_image = nn.Linear(embedding, 5 * hidden, bias=False)
        self.recurrent = nn.Linear(hidden, 5 * hidden, bias=False)
        nn.init.ones_(self.word.bias[hidden : 2 * hidden])

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return a hidden and a cell state of zeros."""
        return self.zeros(memory, width, 2)

    def keys(self, memory: Memory) -> Keys:
        """Return the attention's keys, and what the image adds to all gates (B, 5H)."""
        return super().keys(memory), self.from_image(self.image(memory.pooled).relu())

    def loop_keys(self, keys: Keys, memory: Memory) -> Keys:
        """Return the attention's keys as a loop reads them, and what the image adds (B, 5H)."""
        return self.attention.loop_keys(keys[0], memory), keys[1]

    def precompute(self, words: Tensor, rows: StepRows, memory: Memory) -> LoopLinear:
        """Return the product that gives all gates but for the image, and knows the word."""
        base = apply_linear(self.word, words)
        return LoopLinear(self.recurrent, base=base, sizes=rows.step_counts)

    def step(
        self, inputs: LoopLinear, index: int, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return hidden (b, k, H), context (b, k, H) and weights, and the state after."""
        hidden, cell = state
        keys, image = keys
        sums = inputs(index, hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        sums = sums + image.unsqueeze(1)
        hidden, cell = lstm_update(sums[..., : 4 * self.hidden], cell)
        sentinel = sums[..., 4 * self.hidden :].sigmoid() * cell.tanh()
        context, weights = self.attention.attend(hidden, keys, memory, sentinel)
        return StepOutput(hidden, context, weights), (hidden, cell)

    def project_output(self, output: StepOutput) -> Tensor:
        """Return context + state (equation 13)."""
        assert output.context is not None  # the cell looks in every step
        return output.hidden + output.context


def adaptive(
    *,
    hidden: int = 512,
    embedding: int = 512,
    dropout: float = 0.5,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    pooled_dim: int | None = None,
    attention: AdaptiveAttention,
) -> RecurrentDecoder:
    """Return the adaptive captioner: a ``RecurrentDecoder`` around an ``AdaptiveCell``."""
    pooled_dim = memory_dim if pooled_dim is None else pooled_dim
    return RecurrentDecoder(
        AdaptiveCell(attention, embedding=embedding, hidden=hidden, pooled_dim=pooled_dim),
        embedding=embedding,
        dropout=dropout,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )
