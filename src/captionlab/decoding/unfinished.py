"""Images whose captions have ended are laid aside; a loop over steps goes on with the others.

Legend: B images of the batch, b images that a step is taken for, W hypotheses an image.
"""

from __future__ import annotations

from torch import Tensor

# of the images of a step that must be over before the others are copied out from among them
SHARE = 0.2


def unfinished_images(step: int, unfinished: Tensor) -> Tensor | None:
    """Return which images to go on with, of those of a step: indices, or None for all of them.

    ``unfinished`` (b,W) tells hypotheses that have not ended. Without any image, decoding is over;
    with less than ``SHARE`` of them over, all go on. The answer makes the host wait for a GPU, so
    there it is asked every fourth step; images that are over take part in the meantime, which
    changes no result.
    """
    if unfinished.device.type != "cpu" and step % 4 != 3:
        return None
    going = unfinished.any(1)
    left = int(going.sum())
    if left and left > (1 - SHARE) * len(going):
        return None
    return going.nonzero().squeeze(1)


def in_batch(part: Tensor, images: Tensor | None, count: int) -> Tensor:
    """Return (B, ...) with a part (b, ...) at the places of its images (b,), and 0 elsewhere.

    None for the images of the whole batch; ``count`` is B.
    """
    if images is None:
        return part
    return part.new_zeros(count, *part.shape[1:]).index_copy(0, images, part)


def narrowed(images: Tensor | None, rest: Tensor) -> Tensor:
    """Return the places in the batch of some of a step's images, ``rest``."""
    return rest if images is None else images[rest]
