"""What a decoder remembers between two steps of decoding.

Legend: B images, W beams, N memory slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, Self

import torch
from torch import Tensor

from captionlab.core.memory import Memory

# marks a field, ``field(metadata=PER_BEAM)``, that holds a tensor (B, W, ...) of the beams, or a
# tuple of such tensors (one a layer, say)
PER_BEAM: Final = {"per_beam": True}


PerBeam = Tensor | tuple["PerBeam", ...]


@dataclass(frozen=True, kw_only=True)
class State:
    """The base of every decoder's state.

    Fields marked ``PER_BEAM`` follow their beam; all others (the memory, its projected keys)
    belong to the image and stay where they are, so they are never repeated W times. They are tensors
    (B, ...), tuples and dataclasses of them, or numbers of all images (the steps so far, say).
    ``weights`` (B, W, N) says where the last step looked, None for a decoder that does not look.
    """

    memory: Memory
    weights: Tensor | None = field(default=None, metadata=PER_BEAM)

    def select(self, indices: Tensor) -> Self:
        """Return the state whose beam w of image b continues beam ``indices[b, w]``.

        ``indices`` is (B, W'); W' may differ from W.
        """
        moving = {
            item.name: value
            for item in fields(self)
            if item.metadata.get("per_beam") and (value := getattr(self, item.name)) is not None
        }
        width = _width(tuple(moving.values()))
        first = torch.arange(indices.shape[0], device=indices.device).unsqueeze(1) * width
        places = (first + indices).flatten()
        moved: dict[str, Any] = {
            name: _reordered(value, places, indices.shape) for name, value in moving.items()
        }
        return replace(self, **moved)

    def take(self, images: Tensor) -> Self:
        """Return the state of the images with these indices, in this order.

        Every tensor of every field has the images first, whether it belongs to them or to a beam;
        tensors without axes, numbers and other values are those of all images.
        """
        parts = {item.name: _taken(getattr(self, item.name), images) for item in fields(self)}
        return replace(self, **parts)


def _width(value: PerBeam) -> int:
    """Return the number of beams of the first tensor, 0 where there is none."""
    if isinstance(value, Tensor):
        return value.shape[1]
    return next((width for part in value if (width := _width(part))), 0)


def _reordered(value: PerBeam, places: Tensor, shape: torch.Size) -> PerBeam:
    if isinstance(value, tuple):
        return tuple(_reordered(part, places, shape) for part in value)
    # whole rows: twice as fast as indexing by image and beam
    return value.flatten(0, 1).index_select(0, places).unflatten(0, shape)


def _taken(value: Any, images: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value.index_select(0, images) if value.dim() else value
    if isinstance(value, Memory):
        return value.take(images)
    if isinstance(value, tuple):
        parts = [_taken(part, images) for part in value]
        return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
    if is_dataclass(value) and not isinstance(value, type):
        own = {item.name: _taken(getattr(value, item.name), images) for item in fields(value)}
        return replace(value, **own)
    return value
