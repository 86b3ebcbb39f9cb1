"""The recurrent part of an RNN decoder: the image comes first, or is looked at in every step.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width,
E embedding width, H hidden width, L layers, M rows of a ``Packing``, R rows of one step.

The recurrent state is a tuple of tensors (B, W, L, H): hidden and cell of an LSTM, hidden of a GRU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captionlab.models.attention import Attention
from captionlab.models.cells import CELLS, PARTS
from captionlab.models.memory import Memory
from captionlab.models.packing import Packing

Recurrent = tuple[Tensor, ...]
Looked = tuple[Tensor, Tensor | None, Tensor | None]  # hidden, context, weights


class Stack(nn.Module):
    """LSTM or GRU layers over whole sequences, with the state laid out by image and beam."""

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        fused = nn.LSTM if cell == "lstm" else nn.GRU
        between = dropout if layers > 1 else 0.0
        self.rnn = fused(inputs, hidden, layers, batch_first=True, dropout=between)

    def forward(self, inputs: Tensor, state: Recurrent) -> tuple[Tensor, Recurrent]:
        """Return hidden states (B, K, T, H) of (B, K, T, E), and the last state (B, K, L, H)."""
        rows = inputs.shape[:2]
        first = [part.flatten(0, 1).transpose(0, 1).contiguous() for part in state]
        hidden, last = self.rnn(inputs.flatten(0, 1), tuple(first) if len(first) > 1 else first[0])
        last = last if isinstance(last, tuple) else (last,)
        return (
            hidden.unflatten(0, rows),
            tuple(part.transpose(0, 1).unflatten(0, rows) for part in last),
        )


class ImageFirst(nn.Module):
    """Show and Tell (Vinyals et al. 2015, equations 10 to 12): the image is the first input."""

    def __init__(
        self,
        cell: str,
        *,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        memory_dim: int,
    ) -> None:
        super().__init__()
        self._state = (PARTS[cell], layers, hidden)
        self.image = nn.Linear(memory_dim, embedding)
        self.layers = Stack(cell, embedding, hidden, layers, dropout)

    def keys(self, memory: Memory) -> None:
        """Return nothing: this decoder does not look at the slots."""

    def begin(self, memory: Memory) -> Recurrent:
        """Return the state (B, 1, L, H) after the image, which is read once an image."""
        parts, layers, hidden = self._state
        nothing = memory.pooled.new_zeros(len(memory.pooled), 1, layers, hidden)
        _, state = self.layers(self.image(memory.pooled)[:, None, None], (nothing,) * parts)
        return state

    def run(self, words: Tensor, packing: Packing, memory: Memory) -> Looked:
        """Return the hidden states (M, H) of embedded words (M, E)."""
        start = repeat(self.begin(memory), packing.shape[1])
        hidden, _ = self.layers(packing.unpack(words), start)
        return packing.pack(hidden), None, None

    def step(
        self, words: Tensor, state: Recurrent, keys: Tensor | None, memory: Memory
    ) -> tuple[Looked, Recurrent]:
        """Return the hidden states (B, W, H) of embedded words (B, W, E), and the next state."""
        hidden, state = self.layers(words.unsqueeze(2), state)
        return (hidden[:, :, 0], None, None), state


class Attentive(nn.Module):
    """Attention in every step: the context enters the first layer beside the word.

    The first layer's previous state asks (as in Show, Attend and Tell, equations 1 to 5, which has
    one layer); the layers above it run over the whole sequence afterwards, as nothing in the loop
    waits for them (Wu et al. 2016, figure 1, places its attention at the bottom for that reason).
    """

    def __init__(
        self,
        cell: str,
        attention: Attention,
        *,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        memory_dim: int,
    ) -> None:
        super().__init__()
        self._state = (PARTS[cell], layers, hidden)
        self.attention = attention
        self.initial = nn.Linear(memory_dim, PARTS[cell] * layers * hidden)
        self.cell = CELLS[cell](embedding, memory_dim, hidden)
        self.upper = Stack(cell, hidden, hidden, layers - 1, dropout) if layers > 1 else None

    def keys(self, memory: Memory) -> Tensor:
        """Return the memory's keys (B, N, A), projected once an image."""
        return self.attention.keys(memory)

    def begin(self, memory: Memory) -> Recurrent:
        """Return the state (B, 1, L, H) made of the pooled image (Show, Attend and Tell, 3.1.2)."""
        return self.initial(memory.pooled).tanh().unflatten(-1, (1, *self._state)).unbind(2)

    def run(self, words: Tensor, packing: Packing, memory: Memory) -> Looked:
        """Return hidden states (M, H), contexts (M, D), weights (M, N) of embedded words (M, E)."""
        start = repeat(self.begin(memory), packing.shape[1])
        state = tuple(part[packing.images, :, 0] for part in start)
        memory = memory.take(packing.images)
        keys = self.keys(memory)
        advance = self.cell.loop(words, packing.rows)
        looks = []
        for step, (images, captions) in enumerate(packing.sizes):
            if (images, captions) != state[0].shape[:2]:
                state = tuple(part[:images, :captions] for part in state)
                keys, memory = keys[:images], memory.first(images)
            context, weights = self.attention(state[0], keys, memory)
            state = advance(step, context, state)
            looks.append((state[0].flatten(0, 1), context.flatten(0, 1), weights.flatten(0, 1)))
        hidden, context, weights = (torch.cat(parts) for parts in zip(*looks, strict=True))
        if self.upper is not None:
            above, _ = self.upper(packing.unpack(hidden), tuple(part[:, :, 1:] for part in start))
            hidden = packing.pack(above)
        return hidden, context, weights

    def step(
        self, words: Tensor, state: Recurrent, keys: Tensor | None, memory: Memory
    ) -> tuple[Looked, Recurrent]:
        """Return hidden (B, W, H), context (B, W, D) and weights (B, W, N), and the next state."""
        assert keys is not None
        bottom = tuple(part[:, :, 0] for part in state)
        context, weights = self.attention(bottom[0], keys, memory)
        rows = words.shape[0] * words.shape[1]
        bottom = self.cell.loop(words.flatten(0, 1), [rows])(0, context, bottom)
        following = tuple(part.unsqueeze(2) for part in bottom)
        hidden = bottom[0]
        if self.upper is not None:
            above, upper = self.upper(hidden.unsqueeze(2), tuple(part[:, :, 1:] for part in state))
            hidden = above[:, :, 0]
            following = tuple(torch.cat(pair, 2) for pair in zip(following, upper, strict=True))
        return (hidden, context, weights), following


def repeat(state: Recurrent, width: int) -> Recurrent:
    """Return the state (B, W, L, H) of ``width`` beams that all begin like one (B, 1, L, H)."""
    return tuple(part.expand(-1, width, -1, -1) for part in state)
