"""Any vision model of the timm library as an encoder, CLIP's towers among them.

Legend: B images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean, first_line
from captionlab.core.memory import Memory
from captionlab.models.encoders.efficientnet_lite import LITE, EfficientNetLite
from captionlab.models.encoders.image_encoder import Trainable, TrunkEncoder
from captionlab.models.encoders.layers import Pooled
from captionlab.models.encoders.packaged import PACKAGES, load_packaged
from captionlab.models.encoders.timm_reading import Reading, embedding_width, embeds_beside_text
from captionlab.models.encoders.weight_files import KEY, Candidate, load_weights_file


class TimmEncoder(TrunkEncoder):
    """A timm model without its classifier.

    Slots are the last grid's cells, or the patch tokens; pooled is what timm's own pooling makes of
    them. ``layers`` are those that slots are made of (``encoders.layers``; None: the last), stages of
    a grid or a Transformer's blocks; ``pooled`` is mean, token (the class token) or, of CLIP's and
    SigLIP's towers, projection: the image embedding that is compared with texts. ``weights`` DEFAULT
    takes those of an installed package (``packaged.PACKAGES``), or else timm's (from its cache, or
    the network), a path a state dict, None random ones; ``trainable`` none or all, ``last_stage`` the
    last of the model's stages or blocks. Raises UserError where timm is missing, and for names,
    weights, sizes, layers and vectors that do not fit.
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
        packaged = weights == "DEFAULT" and name in PACKAGES
        from_timm = weights == "DEFAULT" and not packaged
        network = _create(name, from_timm, image_size, projects=pooled == "projection")
        reading = Reading.of(network, name, layers, pooled)
        dim = pooled_dim = network.num_features
        if layers is not None or pooled is not None:
            dim, pooled_dim = reading.measure(network, name, image_size)
        settings = network.pretrained_cfg
        super().__init__(
            dim=dim,
            pooled_dim=pooled_dim,
            layer_indices=reading.layers,
            image_size=image_size,
            learning_rate=learning_rate,
            mean=list(settings["mean"]),
            std=list(settings["std"]),
            mask_padding=mask_padding,
        )
        self._read = reading
        if packaged:
            load_packaged(network, name)
        elif weights not in (None, "DEFAULT"):
            kind, others = f"timm's {name}", timm_relatives(name)
            load_weights_file(network, Path(str(weights)), key=KEY, kind=kind, candidates=others)
        self.adopt(network, trainable, _last_stage(network))

    def forward(self, images: Tensor) -> Memory:
        """Return the memory of images (B, 3, h, w), uint8 or floats in [0, 1]."""
        with self.learning():
            slots, pooled = self._read(self.trunk, self.pixels(images))
        return self.memory(images, slots, pooled)


def timm_relatives(name: str) -> list[Candidate]:
    """Return the timm models of the same family, and how each is built without its classifier."""
    try:
        import timm
    except ImportError:  # some networks are built without it
        return []
    family = name.split("_")[0].rstrip("0123456789dtsb") or name[:3]
    names = [other for other in timm.list_models(f"{family}*") if other != name]
    return [(other, partial(timm.create_model, other, num_classes=0)) for other in names]


def _last_stage(network: Any) -> list[Any]:
    """Return the modules of a network's last stage or block."""
    last = [*getattr(network, "stages", ()), *getattr(network, "blocks", ())][-1:]
    # what EfficientNets and MobileNets have behind their last block
    last += [getattr(network, part) for part in ("conv_head", "bn2") if hasattr(network, part)]
    return last or [child for child in network.children() if list(child.parameters())][-1:]


def _create(name: str, pretrained: bool, image_size: int, *, projects: bool) -> Any:
    if name in LITE:
        return EfficientNetLite(name)
    try:
        import timm
    except ImportError as error:
        raise UserError("TimmEncoder needs timm: pip install 'captionlab[timm]'") from error
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}: {did_you_mean(name, timm.list_models())}")
    sizes: dict[str, Any] = {"img_size": image_size} if "vit" in name or "swin" in name else {}
    classes = embedding_width(name) if projects and embeds_beside_text(name) else 0
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=classes, **sizes)
    except (RuntimeError, AssertionError, OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(
            f"timm's {name} cannot be had (image_size={image_size}, pretrained={pretrained}): "
            f"{reason}; weights=null starts from random ones, weights=PATH from a file"
        ) from error
