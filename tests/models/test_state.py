"""Some images of a state: every field follows, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.models import PER_BEAM, State


class Pair(NamedTuple):
    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Beginning:
    first: Tensor
    nothing: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Everything(State):
    pair: Pair
    nested: tuple[tuple[Tensor, None], ...]
    beginning: Beginning
    temperature: Tensor
    words: tuple[Tensor, ...] = field(default=(), metadata=PER_BEAM)
    length: int = 0


def test_take_keeps_images_of_every_field_and_what_belongs_to_none():
    numbers = torch.arange(4.0)
    slots = numbers[:, None, None].expand(4, 2, 3)
    state = Everything(
        memory=Memory(slots, slots[:, 0], torch.ones(4, 2, dtype=torch.bool)),
        pair=Pair(numbers, -numbers),
        nested=((numbers * 2, None),),
        beginning=Beginning(numbers + 1),
        temperature=torch.tensor(0.5),
        words=(numbers[:, None].expand(4, 2),),
        length=3,
    )
    taken = state.take(torch.tensor([3, 1]))
    assert taken.memory.slots[:, 0, 0].tolist() == [3, 1]
    assert taken.memory.mask.shape == (2, 2)
    assert isinstance(taken.pair, Pair)
    assert taken.pair.values.tolist() == [-3, -1]
    assert taken.nested[0][0].tolist() == [6, 2]
    assert taken.nested[0][1] is None
    assert taken.beginning == Beginning(taken.beginning.first)
    assert taken.beginning.first.tolist() == [4, 2]
    assert taken.words[0].tolist() == [[3, 3], [1, 1]]
    assert (taken.temperature.item(), taken.length, taken.weights) == (0.5, 3, None)
    assert len(state.memory) == 4
