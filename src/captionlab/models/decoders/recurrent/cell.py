"""What a recurrent decoder's cell is: a state, one step, and what can be computed for all steps.

Legend: B images, K captions an image, W beams, N memory slots, D memory width, C context width,
E embedding width, H hidden width, M rows of all steps of a ``Packing``, b x k those of one step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.adaptive import AdaptiveAttention
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.attention.shared import Shared
from captionlab.models.decoders.recurrent.packing import Packing

RecurrentState = tuple[Tensor, ...]  # each (B, W, ...), the same images and beams first
Keys = Any  # what an attention made of a memory: a tensor or nested tuples of them, images first
Inputs = TypeVar("Inputs")


class StepOutput(NamedTuple):
    """What a step gives: the state that is read out, the context and the weights it came from.

    Context and weights are None for a decoder without attention; ``choice`` is the slot that a hard
    attention drew, -1 where it did not.
    """

    hidden: Tensor
    context: Tensor | None = None
    weights: Tensor | None = None
    choice: Tensor | None = None


class StepRows(Protocol):
    """How the rows of all steps are laid out; a ``Packing`` is one."""

    @property
    def step_counts(self) -> list[int]:
        """The number of rows of each step; they sum to M."""


class SingleStep(NamedTuple):
    """The rows of one step of decoding."""

    step_counts: list[int]


class RecurrentCell(nn.Module, ABC, Generic[Inputs]):
    """The base of recurrent cells.

    A subclass says how a caption begins (``init_state``), what can be computed for all steps at once
    (``precompute``) and what one step does (``step``). ``hidden`` is the width of what a step gives.
    """

    def __init__(self, hidden: int, attention: Attention | NoAttention) -> None:
        super().__init__()
        self.hidden = hidden
        self.attention: Any = attention

    @abstractmethod
    def init_state(self, memory: Memory, width: int) -> RecurrentState:
        """Return the state (B, W, ...) before the first word."""

    @abstractmethod
    def precompute(self, words: Tensor, rows: StepRows, memory: Memory) -> Inputs:
        """Return what ``step`` reads, of the embedded words (M, E) of all steps."""

    @abstractmethod
    def step(
        self, inputs: Inputs, index: int, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return the output (b, k, ...) of step ``index``, and the state after it."""

    def activate(self, words: Tensor) -> Tensor:
        """Return embedded words (..., E) as the cell reads them."""
        return words

    def refine(self, memory: Memory) -> Memory:
        """Return the memory as the attention is to see it, computed once an image."""
        return memory

    def keys(self, memory: Memory) -> Keys:
        """Return the attention's keys, computed once an image."""
        return self.attention.keys(memory)

    def loop_keys(self, keys: Keys, memory: Memory) -> Keys:
        """Return keys as the steps of one loop read them, see ``Attention.loop_keys``."""
        own = type(self).keys is not RecurrentCell.keys  # more than the attention's, or others
        return keys if own else self.attention.loop_keys(keys, memory)

    def project_output(self, output: StepOutput) -> Tensor:
        """Return what scores the next word (..., H)."""
        return output.hidden

    def unroll(self, words: Tensor, packing: Packing, memory: Memory) -> StepOutput:
        """Return the outputs (M, ...) of embedded words (M, E), teacher-forced."""
        sorted_memory = memory.take(packing.images)
        state = self.init_state(sorted_memory, packing.shape[1])
        return self.loop(self.precompute(words, packing, memory), packing, sorted_memory, state)

    def loop(
        self, inputs: Inputs, packing: Packing, memory: Memory, state: RecurrentState
    ) -> StepOutput:
        """Return the outputs (M, ...) of all steps; memory and state in the order of the packing."""
        keys = self.keys(memory)
        if torch.is_grad_enabled():
            keys = self.loop_keys(keys, memory)
        outputs = []
        for index, (images, captions) in enumerate(packing.step_shapes):
            if (images, captions) != state[0].shape[:2]:
                state = tuple(part[:images, :captions] for part in state)
                memory, keys = memory.first(images), first_images(keys, images)
            output, state = self.step(inputs, index, state, keys, memory)
            outputs.append(output)
        hidden, *others = (_rows(part) for part in zip(*outputs, strict=True))
        assert hidden is not None
        return StepOutput(hidden, *others)

    def advance(
        self, words: Tensor, state: RecurrentState, keys: Keys, memory: Memory
    ) -> tuple[StepOutput, RecurrentState]:
        """Return the output (B, W, ...) of one embedded word a beam (B, W, E), and the next state."""
        rows = words.flatten(0, 1)
        # len(rows) would be a constant in an export
        inputs = self.precompute(rows, SingleStep([rows.shape[0]]), memory)
        return self.step(inputs, 0, state, keys, memory)

    def zeros(self, memory: Memory, width: int, parts: int) -> RecurrentState:
        """Return so many parts of a state, zeros (B, W, H)."""
        pooled = memory.pooled
        return tuple(pooled.new_zeros(pooled.shape[0], width, self.hidden) for _ in range(parts))


def first_images(keys: Keys, images: int) -> Keys:
    """Return the keys, a tensor or tuples of them, of the first images."""
    if isinstance(keys, tuple):
        return tuple(first_images(part, images) for part in keys)
    return keys.first(images) if isinstance(keys, Shared) else keys[:images]


def _rows(steps: tuple[Tensor | None, ...]) -> Tensor | None:
    tensors = [step.flatten(0, 1) for step in steps if step is not None]
    return torch.cat(tensors) if len(tensors) == len(steps) else None


def require_attention(name: str, attention: nn.Module, *, sentinel: bool = False) -> Attention:
    """Return an attention that looks in every step, with a visual sentinel where there is one.

    Raises:
        UserError: for another kind, with the choice of ``model/attention`` that fits.
    """
    if isinstance(attention, NoAttention):
        raise UserError(
            f"{name} looks at the image in every step: model/attention=none is not enough"
        )
    if sentinel != isinstance(attention, AdaptiveAttention):
        needs = "adaptive" if sentinel else "additive, or another that needs no sentinel"
        raise UserError(
            f"{name} cannot use {type(attention).__name__}: say model/attention={needs}"
        )
    if not isinstance(attention, Attention):
        raise UserError(
            f"{name} needs an attention over the memory, not {type(attention).__name__}"
        )
    return attention
