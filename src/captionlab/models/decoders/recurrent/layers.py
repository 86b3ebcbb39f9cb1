"""LSTM and GRU layers whose gates also see a context, made for a fast loop.

Legend: B images, k captions still running, E embedding width, D context width, H hidden width,
M rows of all steps together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captionlab.models.decoders.recurrent.cell import RecurrentState
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear
from captionlab.models.few_rows import apply_linear

# advance(step, context (B, k, D), state of (B, k, H)) -> state of (B, k, H), the output first
Advance = Callable[[int, Tensor, RecurrentState], RecurrentState]


class LSTMLayer(nn.Module):
    """A long short-term memory layer; gates in torch's order: input, forget, cell, output.

    Hochreiter and Schmidhuber 1997, with the context as a further input; the forget gate starts
    open (bias 1; Jozefowicz et al. 2015).
    """

    state_parts = 2  # hidden and cell
    fused = nn.LSTM  # the same without a context, over whole sequences

    def __init__(self, embedding: int, context: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.word = nn.Linear(embedding, 4 * hidden)
        self.recurrent = nn.Linear(context + hidden, 4 * hidden, bias=False)
        nn.init.ones_(self.word.bias[hidden : 2 * hidden])

    def precompute(self, words: Tensor, step_counts: list[int]) -> Advance:
        """Return the function that advances a state, given the words (M, E) of all its steps."""
        base = apply_linear(self.word, words)
        gates = LoopLinear(self.recurrent, base=base, sizes=step_counts)

        def advance(step: int, context: Tensor, state: RecurrentState) -> RecurrentState:
            hidden, cell = state
            inputs = torch.cat([context, hidden], dim=-1)
            sums = gates(step, inputs.flatten(0, 1)).view(*inputs.shape[:2], -1)
            return lstm_update(sums, cell)

        return advance


def lstm_update(gates: Tensor, cell: Tensor) -> RecurrentState:
    """Return hidden and cell (..., H) after gates (..., 4H) in torch's order."""
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


class GRULayer(nn.Module):
    """A gated recurrent layer in torch's form, gates in its order: reset, update, new.

    Cho et al. 2014, with the context as a further input.
    """

    state_parts = 1
    fused = nn.GRU

    def __init__(self, embedding: int, context: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.word = nn.Linear(embedding, 3 * hidden)
        self.context = nn.Linear(context, 3 * hidden, bias=False)
        self.recurrent = nn.Linear(hidden, 3 * hidden)

    def precompute(self, words: Tensor, step_counts: list[int]) -> Advance:
        """Return the function that advances a state, given the words (M, E) of all its steps."""
        base = apply_linear(self.word, words)
        outer = LoopLinear(self.context, base=base, sizes=step_counts)
        inner = LoopLinear(self.recurrent, sizes=step_counts)

        def advance(step: int, context: Tensor, state: RecurrentState) -> RecurrentState:
            (hidden,) = state
            shape = hidden.shape[:2]
            from_input = outer(step, context.flatten(0, 1)).unflatten(0, shape)
            from_hidden = inner(step, hidden.flatten(0, 1)).unflatten(0, shape)
            input_gates, input_new = from_input.split([2 * self.hidden, self.hidden], dim=-1)
            hidden_gates, hidden_new = from_hidden.split([2 * self.hidden, self.hidden], dim=-1)
            reset, update = (input_gates + hidden_gates).sigmoid().chunk(2, dim=-1)
            new = (input_new + reset * hidden_new).tanh()
            return (new + update * (hidden - new),)

        return advance


# by the name that decoders give them (cell: lstm); a new recurrence is a RecurrentCell, not an entry here
LAYERS: dict[str, type[LSTMLayer] | type[GRULayer]] = {"lstm": LSTMLayer, "gru": GRULayer}
