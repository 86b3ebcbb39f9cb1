"""What an encoder hands to a decoder: one form for grid cells, regions and global features.

Legend: B images, N memory slots, D memory width, P width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captionlab.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of each image; never repeated over captions or beams.

    ``slots`` (B, N, D) are the places to look at, ``pooled`` (B, P) is the image as a whole:
    as wide as the slots, but where it is a vector of a space of its own, such as CLIP's image embedding.
    ``mask`` (B, N) is True where a slot is real. Slots that are not real must hold finite numbers.
    ``boxes`` (B, N, 4) are the regions' corners (left, top, right, bottom) as shares of the image's
    width and height, None where slots are not regions.
    """

    slots: Tensor
    pooled: Tensor
    mask: Tensor
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def each(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """Return the memory whose tensors are those of this one, changed."""
        boxes = None if self.boxes is None else change(self.boxes)
        return Memory(change(self.slots), change(self.pooled), change(self.mask), boxes)

    @classmethod
    def cat(cls, parts: Sequence[Memory]) -> Memory:
        """Return the memory of the images of all parts, which have as many slots."""
        if len(parts) == 1:
            return parts[0]
        boxes = [part.boxes for part in parts if part.boxes is not None]
        return cls(
            torch.cat([part.slots for part in parts]),
            torch.cat([part.pooled for part in parts]),
            torch.cat([part.mask for part in parts]),
            torch.cat(boxes) if boxes else None,
        )

    def first(self, images: int) -> Memory:
        """Return the memory of the first ``images`` images."""
        return self.each(lambda tensor: tensor[:images])

    def take(self, images: Tensor) -> Memory:
        """Return the memory of the images with these indices, in this order."""
        return self.each(lambda tensor: tensor[images])

    def as_computed(self) -> Memory:
        """Return the memory with slots in the type of mixed precision's products, where it is on.

        A decoder that multiplies the slots at every step would cast them at every step.
        """
        device = self.slots.device.type
        if not torch.is_autocast_enabled(device):
            return self
        return replace(self, slots=self.slots.to(torch.get_autocast_dtype(device)))

    def mask_of_some(self) -> Tensor | None:
        """Return the mask, or None where every slot is real: attention is quicker without one.

        An exported program, which has shapes and no values, always keeps it.
        """
        if torch.compiler.is_exporting() or not self.mask.all():
            return self.mask
        return None

    def require_width(self, width: int, reader: str, pooled: int | None = None) -> None:
        """Raise a UserError that quotes both sizes unless the slots are ``width`` wide.

        ``pooled`` is the width that the pooled vector must have, None where it is not read.
        """
        if self.slots.shape[-1] != width:
            raise UserError(
                f"the memory is {self.slots.shape[-1]} wide (slots of shape "
                f"{tuple(self.slots.shape)}), but this {reader} was built for width {width}: "
                "build both from one config"
            )
        if pooled is not None and self.pooled.shape[-1] != pooled:
            raise UserError(
                f"the memory's pooled vector is {self.pooled.shape[-1]} wide, but this {reader} was "
                f"built for width {pooled}: build both from one config"
            )

    def require_real_slots(self) -> None:
        """Raise a UserError that counts the images without a single real slot, if there are any."""
        if torch.compiler.is_exporting():  # what is traced has shapes and no values
            return
        empty = int((~self.mask.any(dim=1)).sum())
        if empty:
            raise UserError(
                f"{empty} of {self.mask.shape[0]} images have no real slot (mask all False), "
                "so attention has nothing to look at: check the stored features of this batch"
            )
