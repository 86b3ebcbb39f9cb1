"""Recurrent captioners of the literature: Att2in, Up-Down, adaptive attention, AoA.

Legend: B images, W captions or beams, b x k those of one step, D memory width, C context width,
E embedding width, H hidden width, M rows of all steps together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.families import AttentionOnAttention
from captionlab.models.decoders.recurrent.cells import LSTMCell
from captionlab.models.decoders.recurrent.loop_decoder import LoopDecoder, Parts
from captionlab.models.decoders.recurrent.recurrence import Look
from captionlab.models.kernels import LoopLinear


class Att2in(LoopDecoder):
    """An LSTM whose context enters the cell's input alone, through a maxout (Rennie et al. 2017).

    Section 2.2, "Att2in": gates of word and state; cell input = maxout(W x + U h + W' context).
    """

    def __init__(
        self,
        *,
        hidden: int = 512,
        embedding: int = 512,
        dropout: float = 0.5,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            hidden=hidden,
            embedding=embedding,
            dropout=dropout,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        # input, forget and output gate, and the two candidates of the maxout
        self.word = nn.Linear(embedding, 5 * hidden)
        self.recurrent = nn.Linear(hidden, 5 * hidden, bias=False)
        self.context = nn.Linear(self.attention.context_dim, 2 * hidden)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return rectified embedded words, as in IC's code."""
        return self.dropout(self.words(tokens).relu())

    def begin(self, memory: Memory, width: int) -> Parts:
        """Return a hidden and a cell state of zeros."""
        return self.zeros(memory, width, self.hidden, self.hidden)

    def tools(self, words: Tensor, rows: list[int], image: Tensor, memory: Memory) -> Any:
        """Return the two products of the loop."""
        bias = self.context.bias.to(words.dtype).expand(len(words), -1)
        gates = LoopLinear(self.recurrent.weight, self.word(words), rows)
        return gates, LoopLinear(self.context.weight, bias, rows)

    def turn(
        self, tools: Any, step: int, parts: Parts, keys: Any, memory: Memory
    ) -> tuple[Look, Parts]:
        """Return hidden (b, k, H), context (b, k, C) and weights, and the parts after."""
        hidden, cell = parts
        gates, into = tools
        context, *seen = self.attention(hidden, keys, memory)
        places = hidden.shape[:2]
        sums = gates(step, hidden.flatten(0, 1)).unflatten(0, places)
        i, f, o = sums[..., : 3 * self.hidden].sigmoid().chunk(3, dim=-1)
        candidates = sums[..., 3 * self.hidden :] + into(step, context.flatten(0, 1)).unflatten(
            0, places
        )
        new = torch.maximum(*candidates.chunk(2, dim=-1))
        cell = f * cell + i * new
        hidden = o * cell.tanh()
        return Look(hidden, context, *seen), (hidden, cell)


class UpDown(LoopDecoder):
    """Two LSTMs: one decides where to look, the other what to say (Anderson et al. 2018).

    Section 3.2, equations 1 to 7: the attention LSTM reads [h2, mean of the slots, word], its state
    asks, the language LSTM reads [context, h1].
    """

    def __init__(
        self,
        *,
        hidden: int = 1000,
        embedding: int = 1000,
        dropout: float = 0.5,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            hidden=hidden,
            embedding=embedding,
            dropout=dropout,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        self.top_down = LSTMCell(embedding, hidden, hidden)
        self.image = nn.Linear(memory_dim, 4 * hidden, bias=False)
        self.language = LSTMCell(hidden, self.attention.context_dim, hidden)

    def begin(self, memory: Memory, width: int) -> Parts:
        """Return both LSTMs' states of zeros: h1, c1, h2, c2."""
        return self.zeros(memory, width, *[self.hidden] * 4)

    def tools(self, words: Tensor, rows: list[int], image: Tensor, memory: Memory) -> Any:
        """Return the attention LSTM's loop, which knows word and image, and the other's."""
        # the mean of the slots is projected once an image, not once a word
        base = self.top_down.word(words) + self.image(memory.pooled)[image]
        # the second LSTM reads h1 and no word: its input layer runs inside of the step
        weight = torch.cat([self.language.word.weight, self.language.recurrent.weight], 1)
        bias = self.language.word.bias.to(base.dtype).expand(len(words), -1)
        return self.top_down.loop_over(base, rows), LoopLinear(weight, bias, rows)

    def turn(
        self, tools: Any, step: int, parts: Parts, keys: Any, memory: Memory
    ) -> tuple[Look, Parts]:
        """Return h2 (b, k, H), context (b, k, C) and weights, and the parts after."""
        first, second = tools
        h1, c1, h2, c2 = parts
        h1, c1 = first(step, h2, (h1, c1))
        context, *seen = self.attention(h1, keys, memory)
        inputs = torch.cat([h1, context, h2], -1)
        gates = second(step, inputs.flatten(0, 1)).unflatten(0, h1.shape[:2])
        i, f, g, o = gates.chunk(4, dim=-1)
        c2 = f.sigmoid() * c2 + i.sigmoid() * g.tanh()
        h2 = o.sigmoid() * c2.tanh()
        return Look(h2, context, *seen), (h1, c1, h2, c2)


class AdaptiveDecoder(LoopDecoder):
    """An LSTM that knows when to look: it makes a visual sentinel (Lu et al. 2017).

    Equations 4 to 13: input [word, image]; sentinel = sigmoid(W_x x + W_h h') * tanh(cell); the
    next word is scored by context + state.
    """

    def __init__(
        self,
        *,
        hidden: int = 512,
        embedding: int = 512,
        dropout: float = 0.5,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            hidden=hidden,
            embedding=embedding,
            dropout=dropout,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
            adaptive=True,
        )
        # four gates of the LSTM and the sentinel's
        self.word = nn.Linear(embedding, 5 * hidden)
        self.image = nn.Linear(memory_dim, embedding)
        self.from_image = nn.Linear(embedding, 5 * hidden, bias=False)
        self.recurrent = nn.Linear(hidden, 5 * hidden, bias=False)
        nn.init.ones_(self.word.bias[hidden : 2 * hidden])

    def begin(self, memory: Memory, width: int) -> Parts:
        """Return a hidden and a cell state of zeros."""
        return self.zeros(memory, width, self.hidden, self.hidden)

    def tools(self, words: Tensor, rows: list[int], image: Tensor, memory: Memory) -> Any:
        """Return the loop of all gates, which knows word and image."""
        seen = self.from_image(self.image(memory.pooled).relu())
        return LoopLinear(self.recurrent.weight, self.word(words) + seen[image], rows)

    def turn(
        self, tools: Any, step: int, parts: Parts, keys: Any, memory: Memory
    ) -> tuple[Look, Parts]:
        """Return hidden (b, k, H), context (b, k, H) and weights, and the parts after."""
        hidden, cell = parts
        sums = tools(step, hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
        i, f, g, o, s = sums.chunk(5, dim=-1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        sentinel = s.sigmoid() * cell.tanh()
        context, weights = self.attention.look(hidden, keys, memory, sentinel)
        return Look(hidden, context, weights), (hidden, cell)

    def read(self, look: Look) -> Tensor:
        """Return context + state (equation 13)."""
        return self.dropout(look.hidden + look.context)


class AoADecoder(LoopDecoder):
    """AoANet: attention on attention refines the memory, and is what the LSTM looks with.

    Huang et al. 2019, section 3.2: ``refiner_layers`` of LayerNorm(A + AoA(A, A, A)) over the
    slots; the LSTM reads [word, mean of the slots + last context]; the context scores the words.
    """

    refines_memory = True

    def __init__(
        self,
        *,
        hidden: int = 1024,
        embedding: int = 1024,
        refiner_layers: int = 6,
        heads: int = 8,
        dropout: float = 0.5,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        attention: nn.Module,
    ) -> None:
        super().__init__(
            hidden=hidden,
            embedding=embedding,
            dropout=dropout,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        if self.attention.context_dim != hidden:
            raise UserError(
                f"AoADecoder adds contexts to a memory {hidden} wide, but the attention's are "
                f"{self.attention.context_dim}: say model/attention=aoa or multi_head"
            )
        self.slots = nn.Sequential(nn.Linear(memory_dim, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.refiner: Any = nn.ModuleList(
            AttentionOnAttention(heads, dropout=0.1, query_dim=hidden, memory_dim=hidden)
            for _ in range(refiner_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(refiner_layers))
        self.cell = LSTMCell(embedding, hidden, hidden)

    def refine(self, memory: Memory) -> Memory:
        """Return the memory with slots and their mean (B, N, H)."""
        slots = self.slots(memory.slots)
        for layer, norm in zip(self.refiner, self.norms, strict=True):
            seen = Memory(slots, memory.pooled, memory.mask)
            # slots ask slots
            found, _ = layer(slots, layer.keys(seen), seen)
            slots = norm(slots + found)
        real = memory.mask.unsqueeze(-1)
        mean = (slots * real).sum(1) / real.sum(1).clamp_min(1)
        return Memory(slots, mean, memory.mask, memory.boxes)

    def begin(self, memory: Memory, width: int) -> Parts:
        """Return states and a last context of zeros."""
        return self.zeros(memory, width, *[self.hidden] * 3)

    def tools(self, words: Tensor, rows: list[int], image: Tensor, memory: Memory) -> Any:
        """Return the LSTM's loop."""
        return self.cell.loop(words, rows)

    def turn(
        self, tools: Any, step: int, parts: Parts, keys: Any, memory: Memory
    ) -> tuple[Look, Parts]:
        """Return hidden and context (b, k, H) and weights, and the parts after."""
        hidden, cell, context = parts
        hidden, cell = tools(step, context + memory.pooled.unsqueeze(1), (hidden, cell))
        context, *seen = self.attention(hidden, keys, memory)
        return Look(hidden, context, *seen), (hidden, cell, context)

    def read(self, look: Look) -> Tensor:
        """Return the context, which alone scores the words (equation 12)."""
        return self.dropout(look.context)
