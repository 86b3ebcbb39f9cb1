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
        images = torch.arange(indices.shape[0], device=indices.device).unsqueeze(1)
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata.get("per_beam") and value is not None:
                moved[item.name] = _reordered(value, images, indices)
        return replace(self, **moved)

    def take(self, images: Tensor) -> Self:
        """Return the state of the images with these indices, in this order.

        Every tensor of every field has the images first, whether it belongs to them or to a beam;
        tensors without axes, numbers and other values are those of all images.
        """
        parts = {item.name: _taken(getattr(self, item.name), images) for item in fields(self)}
        return replace(self, **parts)


def _reordered(value: PerBeam, images: Tensor, indices: Tensor) -> PerBeam:
    if isinstance(value, tuple):
        return tuple(_reordered(part, images, indices) for part in value)
    return value[images, indices]


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
