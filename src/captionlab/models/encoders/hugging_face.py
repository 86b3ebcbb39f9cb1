"""Any vision model of Hugging Face as an encoder, CLIP's image tower among them.

Legend: B images, N memory slots, D memory width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError, first_line
from captionlab.core.hugging_face import (
    entries_of,
    load_config,
    looking_for,
    pretrained,
    transformers,
)
from captionlab.core.memory import Memory
from captionlab.models.encoders.pretrained import KEY
from captionlab.models.encoders.torchvision import Trainable, TrunkEncoder
from captionlab.models.encoders.weight_files import load_weights_file

WHO = "model.encoder"
# ImageNet's, for a model that comes without a preprocessor_config.json
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class HuggingFaceEncoder(TrunkEncoder):
    """A vision model, or the image tower of a model of images and text, by name or folder.

    Slots are the patch tokens or the last grid's cells; pooled is the model's own, their mean where
    it has none. ``weights`` DEFAULT loads the model's own, None begins with random ones, a path
    reads a state dict; ``architecture`` holds entries of a configuration (model_type,
    hidden_size and so on) and replaces that of ``name``. ``trainable`` none or all, ``last_stage``
    the last of the model's layers or stages. Raises UserError where transformers is missing, and
    for names, weights and sizes that do not fit.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        trainable: Trainable = "none",
        learning_rate: float | None = None,
        image_size: int = 224,
        mask_padding: bool = False,
    ) -> None:
        network = _network(name, weights, architecture)
        prefix, dim = _measure(network, name, image_size)
        mean, std = (MEAN, STD) if weights is None else _normalization(name)
        super().__init__(
            dim=dim,
            image_size=image_size,
            learning_rate=learning_rate,
            mean=mean,
            std=std,
            mask_padding=mask_padding,
        )
        self.architecture = entries_of(network.config)
        self._prefix = prefix
        if weights not in (None, "DEFAULT"):
            kind = f"{name} ({network.config.model_type})"
            # the library keeps a network for classification below the name of its kind
            below = [getattr(network, "base_model_prefix", "")]
            load_weights_file(network, Path(str(weights)), key=KEY, kind=kind, prefixes=below)
        lists = [m for m in network.modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
        self.adopt(network, trainable, [lists[0][-1]] if lists else [network])

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1]."""
        with self.learning():
            output = self.trunk(pixel_values=self.normalize(images))
            slots = _rows(output.last_hidden_state)[:, self._prefix :]
            pooled = getattr(output, "pooler_output", None)
            pooled = None if pooled is None else pooled.flatten(1)
            if pooled is None or pooled.shape[-1] != slots.shape[-1]:
                pooled = slots.mean(1)
        return self.memory(images, slots, pooled)


def _rows(tensor: Tensor) -> Tensor:
    """Return slots (B, N, D) of tokens (B, N, D) or a grid (B, D, h, w)."""
    return tensor.flatten(2).transpose(1, 2) if tensor.ndim == 4 else tensor


def _network(name: str, weights: str | None, architecture: dict[str, object] | None) -> Any:
    factory = transformers(WHO).AutoModel
    if weights == "DEFAULT":
        network = pretrained(WHO, factory, name)
    else:
        config = load_config(WHO, name, architecture)
        try:
            network = factory.from_config(config)
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = first_line(error)
            raise UserError(
                f"{WHO}.architecture={architecture} cannot be built: {reason}"
            ) from error
    return getattr(network, "vision_model", network)


def _measure(network: Any, name: str, image_size: int) -> tuple[int, int]:
    """Return how many tokens stand before the patches, and the width D, of a trial run."""
    own = getattr(network.config, "image_size", None)
    try:
        network.eval()
        device = next(network.parameters()).device
        with torch.no_grad():
            output = network(pixel_values=torch.zeros(1, 3, image_size, image_size, device=device))
        rows = _rows(output.last_hidden_state)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        hint = f"; it was made for image_size={own}" if own else ""
        reason = first_line(error)
        raise UserError(
            f"{WHO}.name={name} gives no features of images of image_size={image_size}: "
            f"{reason}{hint}"
        ) from error
    patch = getattr(network.config, "patch_size", None)
    before = rows.shape[1] - (image_size // patch) ** 2 if isinstance(patch, int) else 0
    # a pyramid (Swin) ends with fewer tokens than it had patches, and has none before them
    return max(before, 0), rows.shape[2]


def _normalization(name: str) -> tuple[list[float], list[float]]:
    mixin = transformers(WHO).image_processing_base.ImageProcessingMixin
    try:
        with looking_for(WHO, name):
            entries, _ = mixin.get_image_processor_dict(name)
    except UserError:
        return MEAN, STD
    return list(entries.get("image_mean") or MEAN), list(entries.get("image_std") or STD)
