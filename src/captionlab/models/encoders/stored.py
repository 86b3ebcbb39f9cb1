"""The stand-in for an encoder that exists elsewhere: its memory comes from files alone."""

from __future__ import annotations

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory


class StoredEncoder(nn.Module):
    """An encoder of which only the memory is there, ``dim`` wide: bottom-up regions, say.

    ``image_size`` stands for that of images, none of which is read.
    """

    def __init__(self, *, dim: int = 2048, image_size: int = 224) -> None:
        super().__init__()
        self.dim = dim
        self.image_size = image_size
        self.learning_rate: float | None = None

    def forward(self, images: Tensor) -> Memory:
        """Raise UserError: there is nothing here that could look at an image."""
        raise UserError(
            "this model reads stored regions and cannot look at an image: give data.features=PATH "
            "(npz folder, tsv, h5), or train a model with an encoder"
        )
