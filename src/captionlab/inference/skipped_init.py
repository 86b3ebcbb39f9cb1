"""Building a network whose random weights nobody will see: those of a file replace them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_BINARY = {_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.div.Tensor}
_UNARY = {_aten.exp.default, _aten.sin.default, _aten.cos.default, _aten.neg.default}


class SkippedInit(TorchDispatchMode):
    """Within it no parameter is filled with random numbers, and nothing on the meta device.

    Other tensors are filled as ever: a buffer may be in no file. Arithmetic on the meta device gives
    shapes alone, which it does without this too, but by functions that import torch's compiler first:
    a second.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # asked by torch, which would import its compiler to skip this

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what ``func`` does, or a tensor of its shape."""
        given = dict(kwargs or {})
        first: Any = args[0] if args else None
        if torch.Tag.nondeterministic_seeded in func.tags:
            if isinstance(first, Tensor) and func.overloadpacket.__name__.endswith("_"):
                if first.is_meta or isinstance(first, nn.Parameter):
                    return first
            elif func in (_aten.rand.default, _aten.randn.default) and _is_meta(given):
                return torch.empty(first, **given)
        elif func in _BINARY | _UNARY and any(isinstance(x, Tensor) and x.is_meta for x in args):
            return _elementwise(func, args)
        elif func is _aten.stack.default and first[0].is_meta:
            return _stacked(first, *args[1:])
        return func(*args, **given)


def _is_meta(given: Mapping[str, Any]) -> bool:
    device = given.get("device")
    return device is not None and torch.device(device).type == "meta"


def _elementwise(func: Any, args: tuple[Any, ...]) -> Tensor:
    """Return an empty tensor of the shape and type that an elementwise operation gives."""
    shapes = [x.shape for x in args[:2] if isinstance(x, Tensor)]
    dtype = torch.result_type(*args[:2]) if func in _BINARY else args[0].dtype
    is_exact = func in (_aten.add.Tensor, _aten.sub.Tensor, _aten.mul.Tensor, _aten.neg.default)
    if not dtype.is_floating_point and not is_exact:
        dtype = torch.get_default_dtype()
    # torch's own function imports a library of symbols
    return torch.empty(np.broadcast_shapes(*shapes), dtype=dtype, device="meta")


def _stacked(tensors: list[Tensor], dim: int = 0) -> Tensor:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return tensors[0].new_empty(shape)
