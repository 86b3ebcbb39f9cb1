"""Up-Down (Anderson et al. 2018).

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
from captionlab.models.decoders.recurrent.layers import LSTMLayer, lstm_update
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear
from captionlab.models.few_rows import apply_linear


class UpDownCell(RecurrentCell[tuple[LoopLinear, LoopLinear]]):
    """Two LSTMs: one decides where to look, the other what to say (Anderson et al. 2018).

    Section 3.2, equations 1 to 7: the attention LSTM reads [h2, mean of the slots, word], its state
    asks, the language LSTM reads [context, h1]. The state is h1, c1, h2, c2.
    """

    def __init__(
        self, attention: Attention, *, embedding: int, hidden: int, pooled_dim: int
    ) -> None:
        super().__init__(hidden, require_attention("UpDown", attention))
        self.top_down = LSTMLayer(embedding, hidden, hidden)
        self.image = nn.Linear(pooled_dim, 4 * hidden, bias=False)
        self.language = LSTMLayer(hidden, attention.context_dim, hidden)

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return both LSTMs' states of zeros."""
        return self.zeros(memory, width, 4)

    def keys(self, memory: Memory) -> Keys:
        """Return the attention's keys, and what the image adds to the attention LSTM's gates (B, 4H)."""
        return super().keys(memory), self.image(memory.pooled)

    def loop_keys(self, keys: Keys, memory: Memory) -> Keys:
        """Return the attention's keys as a loop reads them, and what the image adds (B, 4H)."""
        return self.attention.loop_keys(keys[0], memory), keys[1]

    def precompute(
        self, words: Tensor, rows: StepRows, memory: Memory
    ) -> tuple[LoopLinear, LoopLinear]:
        """Return the products of the attention LSTM, which know the words, and of the language LSTM."""
        base = apply_linear(self.top_down.word, words)
        # the language LSTM reads h1 and no word: its input layer runs inside of the step
        layers = self.language.word, self.language.recurrent
        return (
            LoopLinear(self.top_down.recurrent, base=base, sizes=rows.step_counts),
            LoopLinear(*layers, sizes=rows.step_counts),
        )

    def step(
        self,
        inputs: tuple[LoopLinear, LoopLinear],
        index: int,
        state: RecurrentState,
        keys: Keys,
        memory: Memory,
    ) -> tuple[StepOutput, RecurrentState]:
        """Return h2 (b, k, H), context (b, k, C) and weights, and the state after."""
        attention_lstm, language_lstm = inputs
        keys, image = keys
        h1, c1, h2, c2 = state
        shape = h1.shape[:2]
        gates = attention_lstm(index, torch.cat([h2, h1], -1).flatten(0, 1)).unflatten(0, shape)
        h1, c1 = lstm_update(gates + image.unsqueeze(1), c1)
        attended = self.attention(h1, keys, memory)
        seen = torch.cat([attended[0], h2], -1)
        gates = language_lstm(index, h1.flatten(0, 1), seen.flatten(0, 1)).unflatten(0, shape)
        h2, c2 = lstm_update(gates, c2)
        return StepOutput(h2, *attended), (h1, c1, h2, c2)


def up_down(
    *,
    hidden: int = 1000,
    embedding: int = 1000,
    dropout: float = 0.5,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    pooled_dim: int | None = None,
    attention: Attention,
) -> RecurrentDecoder:
    """Return Up-Down: a ``RecurrentDecoder`` around an ``UpDownCell``."""
    pooled_dim = memory_dim if pooled_dim is None else pooled_dim
    return RecurrentDecoder(
        UpDownCell(attention, embedding=embedding, hidden=hidden, pooled_dim=pooled_dim),
        embedding=embedding,
        dropout=dropout,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )
