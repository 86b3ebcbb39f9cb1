"""Any vision model of Hugging Face as an encoder, CLIP's image tower among them.

Legend: B images, N memory slots, D memory width.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from captionlab.models.encoders.hugging_face_reading import (
    WHO,
    Reading,
    as_rows,
    image_projection,
    reading_of,
)
from captionlab.models.encoders.image_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Trainable,
    TrunkEncoder,
)
from captionlab.models.encoders.layers import LAST, Pooled, require_few_slots
from captionlab.models.encoders.weight_files import KEY, load_weights_file


class HuggingFaceEncoder(TrunkEncoder):
    """A vision model, or the image tower of a model of images and text, by name or folder.

    Slots are the patch tokens or the last grid's cells; pooled is the model's own, their mean where
    it has none. ``layers`` are those that slots are made of (``encoders.layers``; None: the last),
    counted without the embeddings; ``pooled`` is mean, token (the class token) or, of CLIP's and
    SigLIP's towers, projection: the image embedding that is compared with texts. ``weights`` DEFAULT
    loads the model's own, None begins with random ones, a path reads a state dict; ``architecture``
    holds entries of a configuration (model_type, hidden_size and so on) and replaces that of
    ``name``. ``trainable`` none or all, ``last_stage`` the last of the model's layers or stages.
    Raises UserError where transformers is missing, and for names, weights, sizes, layers and vectors
    that do not fit.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = "DEFAULT",
        architecture: dict[str, object] | None = None,
        layers: Sequence[int] | None = None,
        pooled: Pooled | None = None,
        trainable: Trainable = "none",
        learning_rate: float | None = None,
        image_size: int = 224,
        mask_padding: bool = False,
    ) -> None:
        whole = _network(name, weights, architecture)
        network = getattr(whole, "vision_model", whole)
        prefix, dim = _measure(network, name, image_size)
        projection = image_projection(whole, name, weights) if pooled == "projection" else None
        reading, pooled_dim = Reading(LAST, None, prefix), dim
        if layers is not None or pooled is not None:
            reading = _reading(network, prefix, layers, pooled, name, image_size)
            dim, pooled_dim = _widths(network, projection, reading, image_size)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if weights is None else normalization(name)
        super().__init__(
            dim=dim,
            image_size=image_size,
            learning_rate=learning_rate,
            mean=mean,
            std=std,
            mask_padding=mask_padding,
            pooled_dim=pooled_dim,
            layer_indices=reading.layers,
        )
        self.architecture = entries_of(network.config)
        self._read = reading
        if weights not in (None, "DEFAULT"):
            _load_file(network, projection, name, Path(str(weights)))
        self.adopt(network, trainable, [_last_stage(network)])
        self.projection = projection
        if projection is not None:
            projection.requires_grad_(trainable == "all")

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1]."""
        with self.learning():
            pixels = self.normalize(images)
            slots, pooled = self._read(self.trunk, self.projection, pixels)
        return self.memory(images, slots, pooled)


def _last_stage(network: nn.Module) -> nn.Module:
    lists = [m for m in network.modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
    return lists[0][-1] if lists else network


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
    return network


def _load_file(network: Any, projection: nn.Module | None, name: str, path: Path) -> None:
    """Load a state dict into a network, and into its projection where that is read."""
    kind = f"{name} ({network.config.model_type})"
    # the library keeps a network for classification below the name of its kind
    below = [getattr(network, "base_model_prefix", "")]
    taken = network
    if projection is not None:  # under the names that the library's files have
        taken = nn.ModuleDict({"vision_model": network, "visual_projection": projection})
    load_weights_file(taken, path, key=KEY, kind=kind, prefixes=below)


def _reading(
    network: Any,
    prefix: int,
    layers: Sequence[int] | None,
    pooled: str | None,
    name: str,
    image_size: int,
) -> Reading:
    with torch.no_grad():
        return reading_of(network, _blank(network, image_size), prefix, layers, pooled, name)


def _widths(
    network: Any, projection: nn.Module | None, reading: Reading, image_size: int
) -> tuple[int, int]:
    """Return the widths D and P of what is read, by a trial run.

    Raises UserError where layers or vector cannot be read so.
    """
    try:
        with torch.no_grad():
            slots, pooled = reading(network, projection, _blank(network, image_size))
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"{WHO}.layers={list(reading.layers)} and pooled={reading.pooled} cannot be read of a "
            f"{network.config.model_type}: {first_line(error)}"
        ) from error
    if reading.layers != LAST:
        require_few_slots(slots.shape[1], reading.layers)
    return slots.shape[-1], pooled.shape[-1]


def _blank(network: nn.Module, image_size: int) -> Tensor:
    device = next(network.parameters()).device
    return torch.zeros(1, 3, image_size, image_size, device=device)


def _measure(network: Any, name: str, image_size: int) -> tuple[int, int]:
    """Return how many tokens stand before the patches, and the width D, of a trial run."""
    own = getattr(network.config, "image_size", None)
    try:
        network.eval()
        with torch.no_grad():
            output = network(pixel_values=_blank(network, image_size))
        rows = as_rows(output.last_hidden_state)
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


def normalization(name: str) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation of colors that a model was trained with."""
    mixin = transformers(WHO).image_processing_base.ImageProcessingMixin
    try:
        with looking_for(WHO, name):
            entries, _ = mixin.get_image_processor_dict(name)
    except UserError:
        return IMAGENET_MEAN, IMAGENET_STD
    return list(entries.get("image_mean") or IMAGENET_MEAN), list(
        entries.get("image_std") or IMAGENET_STD
    )
