"""The recurrence of Show, Attend and Tell: attention in every step.

Legend: B images, K captions an image, W beams, N memory slots, D memory width, E embedding width,
H hidden width, L layers, M rows of a ``Packing``, b x k those of one step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention
from captionlab.models.decoders.recurrent.cell import (
    Keys,
    RecurrentCell,
    RecurrentState,
    StepOutput,
    StepRows,
)
from captionlab.models.decoders.recurrent.fused import FusedLayers
from captionlab.models.decoders.recurrent.layers import LAYERS, Advance
from captionlab.models.decoders.recurrent.packing import Packing

Attend = Literal["before", "after"]


class AttentiveCell(RecurrentCell[Advance]):
    """LSTM or GRU layers of which the first reads the context beside the word.

    ``attend`` before: the first layer's previous state asks, and the context enters the same step
    (Show, Attend and Tell, equations 1 to 5). ``attend`` after: the new state asks, which knows the
    word, and its context goes to the output and enters the next step (Luong et al. 2015, 3.1 and
    3.3); the pooled image enters the first. Layers above the first run over the whole sequence
    afterwards, as nothing in the loop waits for them (Wu et al. 2016, section 3, has its attention
    at the bottom for that reason).

    The state is hidden (B, W, L, H), the LSTM's cell of the same shape and, with ``attend`` after,
    the last context (B, W, D). ``step`` moves the first layer alone: its state is (b, k, H).
    """

    def __init__(
        self,
        cell: str,
        attention: Attention,
        *,
        attend: Attend,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        pooled_dim: int,
    ) -> None:
        super().__init__(hidden, attention)
        self._parts, self._layers = LAYERS[cell].state_parts, layers
        self.attend = attend
        self.initial = nn.Linear(pooled_dim, self._parts * layers * hidden)
        if attend == "after" and attention.context_dim != pooled_dim:
            raise UserError(
                f"{type(attention).__name__} gives contexts {attention.context_dim} wide, but the "
                f"first step of attend=after reads the image, {pooled_dim} wide: say attend=before"
            )
        self.bottom = LAYERS[cell](embedding, attention.context_dim, hidden)
        self.upper = FusedLayers(cell, hidden, hidden, layers - 1, dropout) if layers > 1 else None

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return the state made of the pooled image (Show, Attend and Tell, 3.1.2)."""
        shape = (1, self._parts, self._layers, self.hidden)
        parts = self.initial(memory.pooled).tanh().unflatten(-1, shape).unbind(2)
        state = tuple(part.expand(-1, width, -1, -1) for part in parts)
        if self.attend == "after":
            return *state, memory.pooled.unsqueeze(1).expand(-1, width, -1)
        return state

    def precompute(self, words: Tensor, rows: StepRows, memory: Memory) -> Advance:
        """Return the first layer's function of step, context and state."""
        return self.bottom.precompute(words, rows.step_counts)

    def step(
        self, inputs: Advance, index: int, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return the first layer's hidden (b, k, H), context, weights, and its state after them."""
        if self.attend == "after":
            *before, context = state
            following = inputs(index, context, tuple(before))
            attended = self.attention(following[0], keys, memory)
            return StepOutput(following[0], *attended), (*following, attended[0])
        attended = self.attention(state[0], keys, memory)
        following = inputs(index, attended[0], state)
        return StepOutput(following[0], *attended), following

    def unroll(self, words: Tensor, packing: Packing, memory: Memory) -> StepOutput:
        """Return the top layer's hidden (M, H), contexts (M, D), weights (M, N) of all steps."""
        sorted_memory = memory.take(packing.images)
        state = self.init_state(sorted_memory, packing.shape[1])
        bottom, above = self._split(state)
        inputs = self.precompute(words, packing, memory)
        output = self.loop(inputs, packing, sorted_memory, bottom)
        if self.upper is None:
            return output
        unsorted = packing.images.argsort()
        hidden, _ = self.upper(
            packing.unpack(output.hidden), tuple(part[unsorted] for part in above)
        )
        return output._replace(hidden=packing.pack(hidden))

    def advance(
        self, words: Tensor, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return hidden (B, W, H), context (B, W, D) and weights (B, W, N), and the next state."""
        bottom, above = self._split(state)
        output, bottom = super().advance(words, bottom, keys, memory)
        following = tuple(part.unsqueeze(2) for part in bottom[: self._parts])
        if self.upper is not None:
            hidden, above = self.upper(output.hidden.unsqueeze(2), above)
            output = output._replace(hidden=hidden[:, :, 0])
            following = tuple(torch.cat(pair, 2) for pair in zip(following, above, strict=True))
        return output, (*following, *bottom[self._parts :])

    def _split(self, state: RecurrentState) -> tuple[RecurrentState, RecurrentState]:
        """Return the first layer's state, with the last context, and the layers' above it."""
        layers, context = state[: self._parts], state[self._parts :]
        return (
            (*(part[:, :, 0] for part in layers), *context),
            tuple(part[:, :, 1:] for part in layers),
        )
