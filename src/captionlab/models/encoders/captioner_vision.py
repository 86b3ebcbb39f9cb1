"""The vision side of a whole captioner of Hugging Face, as an encoder.

Legend: B images, N memory slots, D memory width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import entries_of
from captionlab.core.memory import Memory
from captionlab.models.encoders.hugging_face import normalization
from captionlab.models.encoders.image_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Trainable,
    TrunkEncoder,
)
from captionlab.models.hugging_face_captioners import (
    NAME,
    VisionSide,
    bare_half,
    captioner_config,
    whole_captioner,
)

WHO = "model.encoder"


class CaptionerVision(TrunkEncoder):
    """What BLIP, GIT or a pair of encoder and decoder sees, as its own text side reads it.

    Slots are all tokens of the vision network, the class token among them, at the width that the
    text side reads; pooled is their mean. ``name`` is a captioner of the hub or a folder; ``weights``
    DEFAULT loads its own, None begins with random ones; ``architecture`` holds the entries of the
    whole captioner's configuration and replaces that of ``name``. ``trainable`` none, last_stage
    (the last of its layers) or all. Raises UserError where transformers is missing, and for names
    and sizes that do not fit.
    """

    leaves_unread = True  # a pooler behind the tokens, say

    def __init__(
        self,
        name: str = NAME,
        *,
        weights: str | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "none",
        learning_rate: float | None = None,
        image_size: int = 384,
    ) -> None:
        if weights is None or architecture is not None:
            config, family = captioner_config(WHO, name, architecture)
            side = bare_half(WHO, family.bare_vision, config)
        if weights is not None:
            _require_own(weights, architecture)
            whole, family = whole_captioner(WHO, name)
            config, side = whole.config, family.vision_of(whole)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if weights is None else normalization(name)
        super().__init__(
            dim=family.memory_dim(config),
            image_size=image_size,
            learning_rate=learning_rate,
            mean=mean,
            std=std,
        )
        self.architecture = entries_of(config)
        _try(side, name, image_size)
        lists = [m for m in side.modules() if isinstance(m, torch.nn.ModuleList) and len(m) > 1]
        self.adopt(side, trainable, [lists[0][-1] if lists else side])

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1]."""
        with self.learning():
            slots = self.trunk(self.normalize(images))
        return self.memory(images, slots, slots.mean(1))


def _require_own(weights: str, architecture: object) -> None:
    if weights != "DEFAULT":
        raise UserError(
            f"{WHO}.weights={weights}: a captioner has its own weights (DEFAULT) or random ones "
            "(null); a folder is named by model.decoder.name=FOLDER"
        )
    if architecture is not None:
        raise UserError(
            f"{WHO}.architecture is for random weights: say {WHO}.weights=null, or leave it out"
        )


def _try(side: VisionSide, name: str, image_size: int) -> None:
    device = next(side.parameters()).device
    own = getattr(side.network.config, "image_size", None)
    try:
        side.eval()
        with torch.no_grad():
            side(torch.zeros(1, 3, image_size, image_size, device=device))
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        hint = f"; it was made for image_size={own}" if own else ""
        raise UserError(
            f"{WHO}.name={name} gives no features of images of image_size={image_size}: "
            f"{first_line(error)}{hint}"
        ) from error
