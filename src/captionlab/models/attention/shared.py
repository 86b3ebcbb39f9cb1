"""Tensors that every step of a loop reads, with their gradient summed up in one place.

Legend: R rows (images, or heads of images), b of them that a step still reads, Q queries a row,
N memory slots, D width of a slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GradientSum(ABC):
    """What the steps of a loop add to, each in its backward pass."""

    @abstractmethod
    def collect(self) -> Tensor | None:
        """Return the gradient that the steps left, None where no step did, and begin anew."""


class Shared:
    """A tensor that the steps of a loop read, and where they leave its gradient.

    Autograd would make a gradient of the tensor's full size at every step, and add them up. Here a
    step reads ``value``, which is detached, and passes ``edge`` to its ``autograd.Function``, which
    returns no gradient for it: that keeps the tensor's own backward pass behind all steps' ones.
    """

    def __init__(self, tensor: Tensor, sums: GradientSum) -> None:
        self.value = tensor.detach()
        self.sums = sums
        self.edge: Tensor = _Collected.apply(tensor, sums)

    def first(self, rows: int) -> Shared:
        """Return the same of the first ``rows`` rows."""
        part = object.__new__(type(self))
        part.value, part.sums, part.edge = self.value[:rows], self.sums, self.edge
        return part


class _Collected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sums: GradientSum) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.sums = sums
        return tensor.new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor | None) -> tuple[Tensor | None, None]:
        return ctx.sums.collect(), None


class OuterProducts(GradientSum):
    """A sum of products ``left.T @ right`` of all steps, computed in one product a row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def add(self, left: Tensor, right: Tensor) -> None:
        """Add ``left.T @ right`` (b, N, D) of left (b, Q, N) and right (b, Q, D)."""
        self._pairs.append((left, right))

    def collect(self) -> Tensor | None:
        """Return the sum (R, N, D), None where nothing was added, and begin anew."""
        if not self._pairs:
            return None
        left, right = (_side_by_side(parts, self._rows) for parts in zip(*self._pairs, strict=True))
        self._pairs.clear()
        return torch.bmm(left.transpose(1, 2), right)


def _side_by_side(parts: tuple[Tensor, ...], rows: int) -> Tensor:
    """Return parts (b, Q, ...) along Q (rows, sum of Q, ...), zero in rows that a part has not."""
    joined = parts[0].new_zeros(rows, sum(part.shape[1] for part in parts), parts[0].shape[2])
    start = 0
    for part in parts:
        joined[: len(part), start : start + part.shape[1]] = part
        start += part.shape[1]
    return joined


def share_slots(slots: Tensor) -> Tensor | Shared:
    """Return what ``weighted_sum`` reads in every step of a loop: the slots, shared if they learn."""
    return Shared(slots, OuterProducts(len(slots))) if slots.requires_grad else slots


def weighted_sum(weights: Tensor, slots: Tensor | Shared) -> Tensor:
    """Return contexts (b, Q, D) of weights (b, Q, N) and slots (b, N, D)."""
    if isinstance(slots, Shared):
        context: Tensor = _WeightedSum.apply(weights.to(slots.value.dtype), slots.edge, slots)
        return context
    return torch.bmm(weights.to(slots.dtype), slots)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, edge: Tensor, slots: Shared) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.slots = slots
        return torch.bmm(weights, slots.value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        (weights,) = ctx.saved_tensors
        # mixed precision made half-precision contexts of slots that may be wider
        grad = grad.to(ctx.slots.value.dtype)
        ctx.slots.sums.add(weights, grad)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return torch.bmm(grad, ctx.slots.value.transpose(1, 2)), None, None
