"""The stand-in for an encoder that exists elsewhere: its memory comes from files alone."""

from __future__ import annotations

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory


class StoredEncoder(nn.Module):
    """An encoder of which only the memory is there, ``dim`` wide: bottom-up regions, say.

    ``pooled_dim`` is the width of its pooled vector where that is another (None: ``dim``).
    ``image_size`` stands for that of images, none of which is read.
    """

    def __init__(
        self, *, dim: int = 2048, pooled_dim: int | None = None, image_size: int = 224
    ) -> None:
        super().__init__()
        if dim < 1 or (pooled_dim is not None and pooled_dim < 1):
            raise UserError(f"dim={dim}, pooled_dim={pooled_dim}: a width is at least 1")
        self.dim = dim
        self.pooled_dim = dim if pooled_dim is None else pooled_dim
        self.image_size = image_size
        self.learning_rate: float | None = None

    def forward(self, images: Tensor) -> Memory:
        """Raise UserError: there is nothing here that could look at an image."""
        raise UserError(
            "this model reads stored regions and cannot look at an image: give data.features=PATH "
            "(npz folder, tsv, h5), or train a model with an encoder"
        )
