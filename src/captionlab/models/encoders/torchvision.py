"""Images to memory: any torchvision backbone.

Legend: B images.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.models.encoders.backbones import build_trunk, normalization
from captionlab.models.encoders.image_encoder import ImageEncoder as ImageEncoder
from captionlab.models.encoders.image_encoder import Trainable, TrunkEncoder
from captionlab.models.encoders.layers import Pooled


class TorchvisionEncoder(TrunkEncoder):
    """Any torchvision classification network, without its classifier, as an encoder.

    Slots are the grid cells of the last feature map, pooled is their mean; a Vision Transformer
    gives its patch tokens and its class token. ``layers`` are the stages (what has the same grid)
    or the Transformer's layers that slots are made of (``encoders.layers``; None: the last),
    ``pooled`` is mean, or a Transformer's token. ``weights`` is a name of torchvision's weights
    (DEFAULT is its best), the path of a state dict, or None for random weights. ``trainable``
    chooses what learns; the rest, batch-norm statistics and dropout included, stays as in
    evaluation. Raises UserError for names, weights and sizes that do not fit.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = "DEFAULT",
        layers: Sequence[int] | None = None,
        pooled: Pooled | None = None,
        trainable: Trainable = "none",
        learning_rate: float | None = None,
        image_size: int = 224,
        mask_padding: bool = False,
    ) -> None:
        trunk, dim = build_trunk(name, image_size, layers, pooled)
        mean, std = normalization(name, weights)
        super().__init__(
            dim=dim,
            image_size=image_size,
            learning_rate=learning_rate,
            mean=mean,
            std=std,
            mask_padding=mask_padding,
            layer_indices=trunk.layer_indices,
        )
        if weights is not None:
            # it imports torchvision, without which a checkpoint's network is built where it can be
            from captionlab.models.encoders.pretrained import load_pretrained

            load_pretrained(trunk, name, weights)
        last = trunk.last_stage(image_size) if trainable == "last_stage" else ()
        self.adopt(trunk, trainable, last)

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1]."""
        with self.learning():
            slots, pooled = self.trunk(self.pixels(images))
        return self.memory(images, slots, pooled)
