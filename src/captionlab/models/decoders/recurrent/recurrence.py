"""The recurrent part of an RNN decoder: the image comes first, or is looked at in every step.

Legend: B images, K captions an image, T tokens, W beams, N memory slots, D memory width,
E embedding width, H hidden width, L layers, M rows of a ``Packing``, R rows of one step.

The recurrent state is a tuple of tensors (B, W, L, H): hidden and cell of an LSTM, hidden of a GRU.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention
from captionlab.models.decoders.recurrent.cells import CELLS, PARTS, Advance
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.state import PER_BEAM, State

Recurrent = tuple[Tensor, ...]
Attend = Literal["before", "after"]


class Look(NamedTuple):
    """What a step has to say: the top layer's state, the context and the weights it came from.

    Context and weights are None for a decoder without attention; ``choice`` is the slot that a hard
    attention drew, -1 where it did not.
    """

    hidden: Tensor
    context: Any = None
    weights: Any = None
    choice: Any = None


@dataclass(frozen=True, kw_only=True)
class RNNState(State):
    """An RNN decoder's memory: the layers' states (B, W, L, H), the image's keys (B, N, A).

    ``context`` (B, W, D) is what the last step looked at, where the next one is to know it.
    """

    keys: Any
    hidden: Tensor = field(metadata=PER_BEAM)
    cell: Tensor | None = field(default=None, metadata=PER_BEAM)
    context: Any = field(default=None, metadata=PER_BEAM)

    @property
    def recurrent(self) -> Recurrent:
        """The layers' states as the cells want them: (hidden, cell) or (hidden,)."""
        return (self.hidden,) if self.cell is None else (self.hidden, self.cell)

    def after(
        self, recurrent: Recurrent, context: Tensor | None = None, weights: Tensor | None = None
    ) -> RNNState:
        """Return the state that follows this one."""
        cell = recurrent[1] if len(recurrent) > 1 else None
        return replace(self, hidden=recurrent[0], cell=cell, context=context, weights=weights)


def lacks_autocast(device: torch.device) -> bool:
    """Return whether autocast asks a CPU's fused LSTM for what its oneDNN lacks.

    On CPUs without bfloat16 instructions (AVX2) torch ends in an error there.
    """
    if device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_autocast_dtype("cpu") == torch.float16:
        return not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


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
        rows_first = inputs.flatten(0, 1)
        if lacks_autocast(inputs.device):
            with torch.autocast("cpu", enabled=False):
                whole = [part.float() for part in (rows_first, *first)]
                hidden, last = self.rnn(whole[0], tuple(whole[1:]) if len(first) > 1 else whole[1])
        else:
            hidden, last = self.rnn(rows_first, tuple(first) if len(first) > 1 else first[0])
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

    def init_state(self, memory: Memory, width: int) -> RNNState:
        """Return the state after the image, which is read once an image."""
        begun = _repeat(self._begin(memory), width)
        return RNNState(memory=memory, keys=None, hidden=begun[0]).after(begun)

    def run(self, words: Tensor, packing: Packing, memory: Memory) -> Look:
        """Return the hidden states (M, H) of embedded words (M, E)."""
        start = _repeat(self._begin(memory), packing.shape[1])
        hidden, _ = self.layers(packing.unpack(words), start)
        return Look(packing.pack(hidden))

    def step(self, words: Tensor, state: RNNState) -> tuple[Look, RNNState]:
        """Return the hidden states (B, W, H) of embedded words (B, W, E), and the next state."""
        hidden, following = self.layers(words.unsqueeze(2), state.recurrent)
        return Look(hidden[:, :, 0]), state.after(following)

    def _begin(self, memory: Memory) -> Recurrent:
        parts, layers, hidden = self._state
        nothing = memory.pooled.new_zeros(len(memory.pooled), 1, layers, hidden)
        _, state = self.layers(self.image(memory.pooled)[:, None, None], (nothing,) * parts)
        return state


class Attentive(nn.Module):
    """Attention in every step: the context enters the first layer beside the word.

    ``attend`` before: the first layer's previous state asks, and the context enters the same step
    (Show, Attend and Tell, equations 1 to 5). ``attend`` after: the new state asks, which knows the
    word, and its context goes to the output and enters the next step (Luong et al. 2015, 3.1 and
    3.3); the pooled image enters the first. Layers above the first run over the whole sequence
    afterwards, as nothing in the loop waits for them (Wu et al. 2016, section 3, has its attention
    at the bottom for that reason).
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
        memory_dim: int,
    ) -> None:
        super().__init__()
        self._state = (PARTS[cell], layers, hidden)
        self.attend = attend
        self.attention = attention
        self.initial = nn.Linear(memory_dim, PARTS[cell] * layers * hidden)
        if attend == "after" and attention.context_dim != memory_dim:
            raise UserError(
                f"{type(attention).__name__} gives contexts {attention.context_dim} wide, but the "
                f"first step of attend=after reads the image, {memory_dim} wide: say attend=before"
            )
        self.cell = CELLS[cell](embedding, attention.context_dim, hidden)
        self.upper = Stack(cell, hidden, hidden, layers - 1, dropout) if layers > 1 else None

    def init_state(self, memory: Memory, width: int) -> RNNState:
        """Return the state made of the pooled image (Show, Attend and Tell, 3.1.2)."""
        keys = self.attention.keys(memory)
        begun = _repeat(self._begin(memory), width)
        first = memory.pooled.unsqueeze(1).expand(-1, width, -1)
        context = first if self.attend == "after" else None
        return RNNState(memory=memory, keys=keys, hidden=begun[0]).after(begun, context)

    def run(self, words: Tensor, packing: Packing, memory: Memory) -> Look:
        """Return hidden states (M, H), contexts (M, D), weights (M, N) of embedded words (M, E)."""
        start = self.init_state(memory.take(packing.images), packing.shape[1])
        memory, keys, context = start.memory, start.keys, start.context
        state = tuple(part[:, :, 0] for part in start.recurrent)
        advance = self.cell.loop(words, packing.rows)
        looks = []
        for step, (images, captions) in enumerate(packing.sizes):
            if (images, captions) != state[0].shape[:2]:
                state = tuple(part[:images, :captions] for part in state)
                context = None if context is None else context[:images, :captions]
                memory, keys = memory.first(images), first_images(keys, images)
            look, state = self._turn(advance, step, state, context, keys, memory)
            context = look.context
            looks.append(look)
        hidden, contexts, weights, choice = join(looks)
        if self.upper is not None:
            unsorted = packing.images.argsort()
            above = tuple(part[unsorted, :, 1:] for part in start.recurrent)
            hidden = packing.pack(self.upper(packing.unpack(hidden), above)[0])
        return Look(hidden, contexts, weights, choice)

    def step(self, words: Tensor, state: RNNState) -> tuple[Look, RNNState]:
        """Return hidden (B, W, H), context (B, W, D) and weights (B, W, N), and the next state."""
        advance = self.cell.loop(words.flatten(0, 1), [words.shape[0] * words.shape[1]])
        bottom = tuple(part[:, :, 0] for part in state.recurrent)
        look, bottom = self._turn(advance, 0, bottom, state.context, state.keys, state.memory)
        following = tuple(part.unsqueeze(2) for part in bottom)
        if self.upper is not None:
            above = tuple(part[:, :, 1:] for part in state.recurrent)
            hidden, above = self.upper(look.hidden.unsqueeze(2), above)
            look = look._replace(hidden=hidden[:, :, 0])
            following = tuple(torch.cat(pair, 2) for pair in zip(following, above, strict=True))
        context = look.context if self.attend == "after" else None
        return look, state.after(following, context, look.weights)

    def _begin(self, memory: Memory) -> Recurrent:
        return self.initial(memory.pooled).tanh().unflatten(-1, (1, *self._state)).unbind(2)

    def _turn(
        self,
        advance: Advance,
        step: int,
        state: Recurrent,
        context: Tensor,
        keys: Tensor,
        memory: Memory,
    ) -> tuple[Look, Recurrent]:
        if self.attend == "after":
            state = advance(step, context, state)
            seen = self.attention(state[0], keys, memory)
        else:
            seen = self.attention(state[0], keys, memory)
            state = advance(step, seen[0], state)
        return Look(state[0], *seen), state


def first_images(keys: Any, images: int) -> Any:
    """Return the keys, a tensor or tuples of them, of the first images."""
    if isinstance(keys, tuple):
        return tuple(first_images(part, images) for part in keys)
    return keys[:images]


def join(looks: list[Look]) -> Look:
    """Return the rows (M, ...) of all steps' looks (b, k, ...) together."""
    parts = zip(*looks, strict=True)
    return Look(*(_rows(part) for part in parts))


def _rows(steps: tuple[Tensor | None, ...]) -> Any:
    if any(step is None for step in steps):
        return None
    return torch.cat([step.flatten(0, 1) for step in steps if step is not None])


def _repeat(state: Recurrent, width: int) -> Recurrent:
    return tuple(part.expand(-1, width, -1, -1) for part in state)
