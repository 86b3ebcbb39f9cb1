"""A decoder's state as named tensors and back, and how their shapes depend on the batch.

Legend: B images, W beams, t words so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.captioner import Decoder
from captionlab.models.state import State

BATCH, BEAMS, WORDS = "batch", "beams", "words"
Leaf = Any  # a tensor, or an integer that counts words
Shape = tuple[int | str, ...]  # a dimension's size, or what it depends on

# sizes of an example, all different, none of them 0 or 1, which a trace takes for constants
IMAGES, WIDTH, STEPS = 2, 3, 4


def leaves(value: Any, name: str = "") -> dict[str, Leaf]:
    """Return the tensors and integers of nested dataclasses and tuples, named by their place."""
    if value is None:
        return {}
    if isinstance(value, Tensor | int | torch.SymInt):
        return {name: value}
    return {
        key: leaf
        for part, child in _children(value)
        for key, leaf in leaves(child, _joined(name, part)).items()
    }


def rebuilt(template: Any, values: Mapping[str, Leaf], name: str = "") -> Any:
    """Return what is built as ``template``, with other leaves where ``values`` has them."""
    if template is None:
        return None
    if isinstance(template, Tensor | int):
        return values.get(name, template)
    parts = {n: rebuilt(child, values, _joined(name, n)) for n, child in _children(template)}
    if is_dataclass(template) and not isinstance(template, type):
        return replace(template, **parts)
    named = hasattr(template, "_fields")
    return type(template)(*parts.values()) if named else tuple(parts.values())


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        yield from ((item.name, getattr(value, item.name)) for item in fields(value))
    elif isinstance(value, tuple):
        yield from ((str(index), child) for index, child in enumerate(value))
    else:
        raise UserError(
            f"a decoder's state holds a {type(value).__name__}, and only tensors, integers, tuples and "
            "dataclasses of these can be written as inputs of a graph"
        )


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


@dataclass(frozen=True)
class StateOutline:
    """What a decoder's state is made of from its second step on.

    ``template`` is one such state, ``shapes`` those of its tensors by name. ``beams`` are the names
    of tensors that follow their beam; all others belong to an image and no step changes them.
    ``counters`` are integers that grow by one a step, with what they are more than the steps taken.
    ``attends`` says whether steps tell where they looked.
    """

    template: State
    shapes: Mapping[str, Shape]
    beams: frozenset[str]
    counters: Mapping[str, int]
    attends: bool


@torch.no_grad()
def outline_state(decoder: Decoder, memory: Memory) -> StateOutline:
    """Return the outline of a decoder's state, seen in a few states of different sizes.

    Args:
        memory: of more than two images.

    Raises:
        UserError: for a state that steps change in a way that a graph cannot follow.
    """
    usual, before = (_run(decoder, memory, IMAGES, WIDTH, n) for n in (STEPS, STEPS - 1))
    others = {
        BATCH: _run(decoder, memory, IMAGES + 1, WIDTH, STEPS),
        BEAMS: _run(decoder, memory, IMAGES, WIDTH + 1, STEPS),
        WORDS: before,
    }
    found = _state_leaves(usual)
    varied = {what: _state_leaves(state) for what, state in others.items()}
    for state in varied.values():
        if state.keys() != found.keys():
            raise UserError(
                f"a {type(decoder).__name__} keeps other tensors at each step, and a graph has always "
                "the same"
            )
    follows = _per_beam(usual)
    shapes = {name: _shape(name, leaf, varied) for name, leaf in found.items() if _is_tensor(leaf)}
    for name in shapes.keys() - follows:
        if not torch.equal(found[name], varied[WORDS][name]):
            raise UserError(
                f"a step of a {type(decoder).__name__} changes its {name}, which belongs to the image "
                "and not to a beam"
            )
    integers = {name: leaf for name, leaf in found.items() if not _is_tensor(leaf)}
    counters = {
        name: value - STEPS for name, value in integers.items() if value - varied[WORDS][name] == 1
    }
    return StateOutline(
        usual, shapes, frozenset(follows & shapes.keys()), counters, usual.weights is not None
    )


def example(outline: StateOutline, names: Sequence[str]) -> list[Leaf]:
    """Return the leaves of an outline's template with these names."""
    found = _state_leaves(outline.template)
    return [found[name] for name in names]


def _run(decoder: Decoder, memory: Memory, images: int, width: int, steps: int) -> State:
    state = decoder.init_state(memory.first(images), width)
    tokens = torch.ones(images, width, dtype=torch.long)
    for _ in range(steps):
        _, state = decoder.step(tokens, state)
    return state


def _state_leaves(state: State) -> dict[str, Leaf]:
    """Return a state's leaves but for the attention's weights, which no step reads."""
    return leaves(replace(state, weights=None))


def _is_tensor(leaf: Leaf) -> bool:
    return isinstance(leaf, Tensor)


def _per_beam(state: State) -> set[str]:
    marked = {item.name for item in fields(state) if item.metadata.get("per_beam")}
    return {name for name in _state_leaves(state) if name.split(".")[0] in marked}


def _shape(name: str, leaf: Tensor, varied: Mapping[str, Mapping[str, Leaf]]) -> Shape:
    """Return a tensor's shape with what changes it in place of the sizes that change."""
    return tuple(
        next((what for what, state in varied.items() if state[name].shape[place] != size), size)
        for place, size in enumerate(leaf.shape)
    )
