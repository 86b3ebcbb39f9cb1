"""The product inside of a recurrent loop, with a gradient of its own.

Legend: M rows of all steps together, I and G the widths of a step's input and output.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from captionlab.models.few_rows import apply_linear


class LoopLinear:
    """``base[t] + linear(x_t)`` for the steps t of a loop; the weight's gradient in one product.

    Autograd would compute and add up a gradient of the weight's full size at every step. Here the
    loop reads a detached weight and keeps its inputs; as d base is the gradient of all steps'
    outputs, one product d base.T @ x at the end gives the weight's.
    ``linear`` maps I to G; several add their products up, each of an input of its own, and only the
    first may have a bias. ``base`` is (M, G), its rows those of all steps in order; None stands for
    the bias alone. ``sizes`` counts the rows of a step. Without a gradient, and where they are no
    ``nn.Linear``, the layers themselves are called: a quantized one has no weight to read.
    """

    def __init__(self, *linear: nn.Module, base: Tensor | None = None, sizes: list[int]) -> None:
        self._linear = linear
        self._weights: list[Tensor] = []
        self._inputs: list[list[Tensor]] = [[] for _ in linear]
        plain = [layer for layer in linear if isinstance(layer, nn.Linear)]
        if torch.is_grad_enabled() and len(plain) == len(linear):
            base = _with_bias(plain[0], base, sum(sizes))
            weights = [layer.weight.to(base.dtype) for layer in plain]
            self._weights = [weight.detach().t() for weight in weights]
            base = _DeferredWeights.apply(base, self._inputs, *weights)
        self._base = None if base is None else base.split(sizes)

    def __call__(self, step: int, *x: Tensor) -> Tensor:
        """Return the output (rows, G) of inputs (rows, I); steps are called in order, each once."""
        if not self._weights:
            products = [apply_linear(*pair) for pair in zip(self._linear, x, strict=True)]
            known = [] if self._base is None else [self._base[step]]
            return functools.reduce(torch.add, [*known, *products])
        assert self._base is not None
        output = self._base[step]
        keeps = output.requires_grad
        for weight, inputs, part in zip(self._weights, self._inputs, x, strict=True):
            read = part.to(weight.dtype)
            if keeps:
                inputs.append(read.detach())
            output = torch.addmm(output, read, weight)
        return output


def _with_bias(linear: nn.Linear, base: Tensor | None, rows: int) -> Tensor:
    """Return what is added to the products of all ``rows`` (M, G)."""
    if base is not None:
        return base if linear.bias is None else base + linear.bias.to(base.dtype)
    bias: Tensor = linear.bias
    if torch.is_autocast_enabled(bias.device.type):
        bias = bias.to(torch.get_autocast_dtype(bias.device.type))
    return bias.expand(rows, -1)


class _DeferredWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, inputs: list[list[Tensor]], *weights: Tensor) -> Tensor:
        ctx.inputs = inputs
        return base.view_as(base)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(ctx.needs_input_grad[2:], ctx.inputs, strict=True)
        return grad, None, *(grad.t() @ torch.cat(x) if needed else None for needed, x in pairs)
