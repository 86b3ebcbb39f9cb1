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
from captionlab.models.decoders.recurrent.layers import Advance, LSTMLayer, lstm_update
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear


class UpDownCell(RecurrentCell[tuple[Advance, LoopLinear]]):
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

    def precompute(
        self, words: Tensor, rows: StepRows, memory: Memory
    ) -> tuple[Advance, LoopLinear]:
        """Return the attention LSTM's function, which knows word and image, and the other's product."""
        # the mean of the slots is projected once an image, not once a word
        base = self.top_down.word(words) + self.image(memory.pooled)[rows.image_index]
        # the second LSTM reads h1 and no word: its input layer runs inside of the step
        weight = torch.cat([self.language.word.weight, self.language.recurrent.weight], 1)
        bias = self.language.word.bias.to(base.dtype).expand(words.shape[0], -1)
        return (
            self.top_down.precompute_from(base, rows.step_counts),
            LoopLinear(weight, bias, rows.step_counts),
        )

    def step(
        self,
        inputs: tuple[Advance, LoopLinear],
        index: int,
        state: RecurrentState,
        keys: Keys,
        memory: Memory,
    ) -> tuple[StepOutput, RecurrentState]:
        """Return h2 (b, k, H), context (b, k, C) and weights, and the state after."""
        attention_lstm, language_gates = inputs
        h1, c1, h2, c2 = state
        h1, c1 = attention_lstm(index, h2, (h1, c1))
        attended = self.attention(h1, keys, memory)
        language_input = torch.cat([h1, attended[0], h2], -1).flatten(0, 1)
        gates = language_gates(index, language_input).unflatten(0, h1.shape[:2])
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
