"""The product inside of a recurrent loop, with a gradient of its own.

Legend: M rows of all steps together, I and G the widths of a step's input and output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class LoopLinear:
    """``base[t] + x_t @ weight.T`` for the steps t of a loop; the weight's gradient in one product.

    Autograd would compute and add up a gradient of the weight's full size at every step. Here the
    loop reads a detached weight and keeps its inputs; as d base is the gradient of all steps'
    outputs, one product d base.T @ x at the end gives the weight's.
    ``base`` is (M, G), its rows those of all steps in order; ``sizes`` counts the rows of a step;
    ``weight`` is (G, I).
    """

    def __init__(self, weight: Tensor, base: Tensor, sizes: list[int]) -> None:
        weight = weight.to(base.dtype)
        self._inputs: list[Tensor] = []
        self._base = _DeferredWeight.apply(base, weight, self._inputs).split(sizes)
        self._weight = weight.detach().t()

    def __call__(self, step: int, x: Tensor) -> Tensor:
        """Return the output (rows, G) of step ``step``; steps are called in order, each once."""
        x = x.to(self._weight.dtype)
        if self._base[step].requires_grad:
            self._inputs.append(x.detach())
        return torch.addmm(self._base[step], x, self._weight)


class _DeferredWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, weight: Tensor, inputs: list[Tensor]) -> Tensor:
        ctx.inputs = inputs
        return base.view_as(base)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        if not ctx.needs_input_grad[1]:
            return grad, None, None
        return grad, grad.t() @ torch.cat(ctx.inputs), None
