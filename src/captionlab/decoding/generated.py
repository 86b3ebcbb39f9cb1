"""What every decoding method takes and gives back.

Legend: B images, T tokens, N memory slots, D memory width, V vocabulary, W beams, samples or
captions an image.

A decoding method knows no model, only a function that takes one step. Several captioners become
one by an object with the same two functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from captionlab.core.errors import UserError


class StepState(Protocol):
    """What a model carries from one token to the next, for W hypotheses an image."""

    @property
    def weights(self) -> Tensor | None:
        """Where the last step looked, (B,W,N), or None for a model without attention."""

    def select(self, indices: Tensor) -> Self:
        """Return the state whose hypothesis w of image b continues the old ``indices[b, w]``."""
        ...

    def take(self, images: Tensor) -> Self:
        """Return the state of the images with these indices, in this order."""
        ...


class BatchMemory(Protocol):
    """The encoded images: their number, their device, and some of them."""

    @property
    def pooled(self) -> Tensor:
        """One vector an image, (B,D)."""
        ...

    def take(self, images: Tensor) -> Self:
        """Return the memory of the images with these indices, in this order."""
        ...


# a model's own classes of memory and state
MemoryT = TypeVar("MemoryT", bound=BatchMemory)
MemoryT_contra = TypeVar("MemoryT_contra", bound=BatchMemory, contravariant=True)
StateT = TypeVar("StateT", bound=StepState)


class StepModel(Protocol[MemoryT_contra, StateT]):
    """Anything that can be decoded."""

    def init_state(self, memory: MemoryT_contra, width: int) -> StateT:
        """Return the state before the first token, for ``width`` hypotheses an image."""
        ...

    def step(self, token_ids: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """Return logits (B,W,V) of the token after ``token_ids`` (B,W), and the next state.

        W is that of the state: 1 at the beginning, where all hypotheses are alike.
        """
        ...


@dataclass(frozen=True, slots=True)
class Generated:
    """Captions of a batch, those of each image best first.

    ``tokens`` (B,W,T): no bos, eos where it was reached, pad after it; T is the longest caption.
    ``lengths`` (B,W): tokens with eos; 0 (and score -inf) where an image has no further caption.
    ``scores`` (B,W): what the captions are ranked by.
    ``log_probs`` (B,W): sum of the model's own log-probabilities, untouched by constraints,
    temperature, truncation and length penalty, so that methods can be compared.
    ``weights`` (B,W,T,N): where the model looked as it chose each token, 0 after the end; None for
    a model without attention.
    """

    tokens: Tensor
    lengths: Tensor
    scores: Tensor
    log_probs: Tensor
    weights: Tensor | None


def longest(lengths: Tensor) -> int:
    """Return the number of tokens of the longest caption, 0 where there is none."""
    return int(lengths.max()) if lengths.numel() else 0


def require_integer(key: str, value: object, *, at_least: int) -> None:
    """Raise UserError unless ``decoding.<key>`` is a whole number that is large enough."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise UserError(f"decoding.{key}={value!r} must be a whole number of at least {at_least}")


def require_lengths(min_length: object, max_length: object) -> None:
    """Raise UserError unless 1 <= max_length and 0 <= min_length <= max_length."""
    require_integer("max_length", max_length, at_least=1)
    require_integer("min_length", min_length, at_least=0)
    if min_length > max_length:  # type: ignore[operator]
        raise UserError(
            f"decoding.min_length={min_length} must not exceed decoding.max_length={max_length}"
        )


def is_number(value: object) -> bool:
    """Return whether the value is a finite int or float."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def image_index(order: Tensor) -> Tensor:
    """Return (B,1) image numbers, which index a (B,W,...) tensor together with ``order`` (B,W)."""
    return torch.arange(len(order), device=order.device)[:, None]
