"""Show and Tell's recurrence: the image is the first input.

Legend: B images, W beams, E embedding width, H hidden width, L layers, M rows of a ``Packing``.
"""

from __future__ import annotations

from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.models.attention.base import NoAttention
from captionlab.models.decoders.recurrent.cell import (
    Keys,
    RecurrentCell,
    RecurrentState,
    StepOutput,
    StepRows,
)
from captionlab.models.decoders.recurrent.fused import FusedLayers
from captionlab.models.decoders.recurrent.layers import LAYERS
from captionlab.models.decoders.recurrent.packing import Packing


class ImageFirstCell(RecurrentCell[Tensor]):
    """LSTM or GRU layers that read the image and then words (Vinyals et al. 2015, equations 10-12).

    The state is hidden (B, W, L, H), and the LSTM's cell of the same shape.
    """

    def __init__(
        self,
        cell: str,
        attention: NoAttention,
        *,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        pooled_dim: int,
    ) -> None:
        super().__init__(hidden, attention)
        self._parts, self._layers = LAYERS[cell].state_parts, layers
        self.image = nn.Linear(pooled_dim, embedding)
        self.layers = FusedLayers(cell, embedding, hidden, layers, dropout)

    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return the state after the image, which is read once an image."""
        zeros = memory.pooled.new_zeros(memory.pooled.shape[0], 1, self._layers, self.hidden)
        image = self.image(memory.pooled)[:, None, None]
        _, state = self.layers(image, (zeros,) * self._parts)
        return tuple(part.expand(-1, width, -1, -1) for part in state)

    def keys(self, memory: Memory) -> None:
        """Return None: nothing is looked at."""

    def precompute(self, words: Tensor, rows: StepRows, memory: Memory) -> Tensor:
        """Return the words: torch's layers do the rest."""
        return words

    def step(
        self, inputs: Tensor, index: int, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return the hidden states (b, k, H) of the words (b k, E) of one step."""
        words = inputs.view(*state[0].shape[:2], 1, -1)
        hidden, following = self.layers(words, state)
        return StepOutput(hidden[:, :, 0]), following

    def unroll(self, words: Tensor, packing: Packing, memory: Memory) -> StepOutput:
        """Return the hidden states (M, H) of all steps by torch's fused kernel."""
        state = self.init_state(memory, packing.shape[1])
        hidden, _ = self.layers(packing.unpack(words), state)
        return StepOutput(packing.pack(hidden))
