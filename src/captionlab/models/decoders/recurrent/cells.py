"""LSTM and GRU layers whose gates also see a context, made for a fast loop.

Legend: B images, k captions still running, E embedding width, D context width, H hidden width,
M rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captionlab.models.kernels import LoopLinear

State = tuple[Tensor, ...]
# advance(step, context (B, k, D), state of (B, k, H)) -> state of (B, k, H), the output first
Advance = Callable[[int, Tensor, State], State]


class LSTMCell(nn.Module):
    """A long short-term memory layer; gates in torch's order: input, forget, cell, output.

    Hochreiter and Schmidhuber 1997, with the context as a further input; the forget gate starts
    open (bias 1; Jozefowicz et al. 2015).
    """

    def __init__(self, embedding: int, context: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.word = nn.Linear(embedding, 4 * hidden)
        self.recurrent = nn.Linear(context + hidden, 4 * hidden, bias=False)
        nn.init.ones_(self.word.bias[hidden : 2 * hidden])

    def loop(self, words: Tensor, rows: list[int]) -> Advance:
        """Return the function that advances a state, given the words (M, E) of all its steps."""
        return self.loop_over(self.word(words), rows)

    def loop_over(self, base: Tensor, rows: list[int]) -> Advance:
        """Return the same, given what the gates (M, 4H) know before the loop."""
        gates = LoopLinear(self.recurrent.weight, base, rows)

        def advance(step: int, context: Tensor, state: State) -> State:
            hidden, cell = state
            seen = torch.cat([context, hidden], dim=-1)
            i, f, g, o = gates(step, seen.flatten(0, 1)).view(*seen.shape[:2], -1).chunk(4, dim=-1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            return o.sigmoid() * cell.tanh(), cell

        return advance


class GRUCell(nn.Module):
    """A gated recurrent layer in torch's form, gates in its order: reset, update, new.

    Cho et al. 2014, with the context as a further input.
    """

    def __init__(self, embedding: int, context: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.word = nn.Linear(embedding, 3 * hidden)
        self.context = nn.Linear(context, 3 * hidden, bias=False)
        self.recurrent = nn.Linear(hidden, 3 * hidden)

    def loop(self, words: Tensor, rows: list[int]) -> Advance:
        """Return the function that advances a state, given the words (M, E) of all its steps."""
        projected = self.word(words)
        bias = self.recurrent.bias.to(projected.dtype).expand_as(projected)
        outer = LoopLinear(self.context.weight, projected, rows)
        inner = LoopLinear(self.recurrent.weight, bias, rows)

        def advance(step: int, context: Tensor, state: State) -> State:
            (hidden,) = state
            places = hidden.shape[:2]
            fresh = outer(step, context.flatten(0, 1)).unflatten(0, places)
            kept = inner(step, hidden.flatten(0, 1)).unflatten(0, places)
            fresh_gates, fresh_new = fresh.split([2 * self.hidden, self.hidden], dim=-1)
            kept_gates, kept_new = kept.split([2 * self.hidden, self.hidden], dim=-1)
            reset, update = (fresh_gates + kept_gates).sigmoid().chunk(2, dim=-1)
            new = (fresh_new + reset * kept_new).tanh()
            return (new + update * (hidden - new),)

        return advance


CELLS: dict[str, type[LSTMCell] | type[GRUCell]] = {"lstm": LSTMCell, "gru": GRUCell}
PARTS = {"lstm": 2, "gru": 1}
