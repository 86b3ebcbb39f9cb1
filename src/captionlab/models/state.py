"""What a decoder remembers between two steps of decoding.

Legend: B images, W beams, N memory slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
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
    belong to the image and stay where they are, so they are never repeated W times.
    ``weights`` (B, W, N) says where the last step looked, None for a decoder that does not look.
    """

    memory: Memory
    weights: Tensor | None = field(default=None, metadata=PER_BEAM)

    def select(self, indices: Tensor) -> Self:
        """Return the state whose beam w of image b continues beam ``indices[b, w]``.

        ``indices`` is (B, W'); W' may differ from W.
        """
        rows = torch.arange(indices.shape[0], device=indices.device).unsqueeze(1)
        moved: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata.get("per_beam") and value is not None:
                moved[item.name] = _reordered(value, rows, indices)
        return replace(self, **moved)


def _reordered(value: PerBeam, rows: Tensor, indices: Tensor) -> PerBeam:
    if isinstance(value, tuple):
        return tuple(_reordered(part, rows, indices) for part in value)
    return value[rows, indices]
