"""The floor under a step: the matrix products that it does, counted, and done alone.

A dispatch mode writes down each product of one step with the shapes and strides of its tensors,
forward and backward; ``Products.replay`` does the same products in the same order on made numbers,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
LARGE = {"cpu": 1536, "cuda": 8192}  # rows of a product that reaches the device's rate
Replay = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _multiply_add(_: Tensor, left: Tensor, right: Tensor, **__: Any) -> int:
    return 2 * left.numel() * right.shape[-1] if right.dim() > 1 else 2 * left.numel()


def _matrix_vector(left: Tensor, right: Tensor, **_: Any) -> int:
    return 2 * left.numel()


# what torch's own table of FLOP leaves out
MORE = {
    aten.addmm_: _multiply_add,
    aten.baddbmm_: _multiply_add,
    aten.addbmm: _multiply_add,
    aten.addmv: _multiply_add,
    aten.addmv_: _multiply_add,
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
}


@dataclass
class Products:
    """The matrix products of one step, in order; ``flop`` is what they compute together."""

    calls: list[Replay] = field(default_factory=list)
    flop: int = 0

    @torch.no_grad()
    def replay(self) -> None:
        """Do them again."""
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)


class ProductRecorder(TorchDispatchMode):
    """Writes down the matrix products of whatever runs inside of the block.

    Products of one tensor get one stand-in, so that what a step reads twice is read twice in the
    replay too. What a product writes into is apart from what it reads: numbers stay small, however
    often it is repeated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products = Products()
        self._stand_ins: dict[tuple[Any, ...], Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in flop_registry and packet not in MORE:
            # in inference mode linear and matmul arrive whole: look at what they are made of
            with self:
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        written = {a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write}
        names = [a.name for a in func._schema.arguments]
        result = func(*args, **kwargs)
        self.products.flop += self._flop(packet, args, kwargs, result)
        copies = tuple(
            tree_map(lambda x, w=name in written: self._stand_in(x, w), value)
            for name, value in zip(names, args, strict=False)
        )
        named = {
            name: tree_map(lambda x, w=name in written: self._stand_in(x, w), value)
            for name, value in kwargs.items()
        }
        self.products.calls.append((func, copies, named))
        return result

    @staticmethod
    def _flop(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
        if packet in MORE:
            return MORE[packet](*args)
        return int(flop_registry[packet](*args, **kwargs, out_val=result))

    def _stand_in(self, value: Any, written: bool) -> Any:
        if not isinstance(value, Tensor):
            return value
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype, written)
        if key not in self._stand_ins:
            self._stand_ins[key] = _made(value)
        return self._stand_ins[key]


@torch.inference_mode(False)  # a replay writes into what it made
def _made(like: Tensor) -> Tensor:
    """Return a tensor of the shape, strides and type of another, of small numbers."""
    if like.numel() == 0:
        return torch.empty_like(like)
    size = 1 + sum((n - 1) * s for n, s in zip(like.shape, like.stride(), strict=True))
    if like.is_floating_point():
        flat = torch.empty(size, dtype=torch.float32, device=like.device).uniform_(0.01, 0.1)
        flat = flat.to(like.dtype)
    else:  # masks let everything through
        flat = torch.ones(size, dtype=like.dtype, device=like.device)
    return flat.as_strided(like.shape, like.stride())


def record(run: Callable[[], object]) -> Products:
    """Return the matrix products of one run."""
    with ProductRecorder() as recorder:
        run()
    return recorder.products


def large_product(dtype: torch.dtype, device: str) -> tuple[Callable[[], object], int]:
    """Return a large matrix product to time, and its FLOP."""
    size = LARGE.get(torch.device(device).type, LARGE["cpu"])
    draw = torch.rand(size, size, device=device).to(dtype)
    other = torch.rand(size, size, device=device).to(dtype)
    return lambda: draw @ other, 2 * size**3
