"""torchvision's classification networks, cut before their classifier.

Legend: B images, h x w the last grid, N = h * w slots, D channels.

A trunk keeps torchvision's parameter names, so that torchvision's files load into it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from captionlab.core.errors import UserError, did_you_mean, first_line
from captionlab.models.encoders.image_encoder import IMAGENET_MEAN, IMAGENET_STD
from captionlab.models.encoders.layers import (
    LAST,
    join_maps,
    layer_indices,
    require_few_slots,
    require_offered,
)
from captionlab.models.encoders.resnet import RESNETS, resnet_features, resnet_width

if TYPE_CHECKING:  # slow to import, and residual networks are built without it
    from torchvision import models

# where a network stops being features; all that follows belongs to its classifier
_CLASSIFIER = {"avgpool", "classifier", "dropout", "fc", "flatten", "head", "heads"}
# ported from TensorFlow: they want images in [-1, 1], whatever their weights' transforms say
_CENTERED = {"googlenet", "inception_v3"}


class GridTrunk(nn.Sequential):
    """A convolutional (or Swin) network: maps of its last or chosen stages as slots, and their mean.

    A max-pooling that ends the features (VGG, AlexNet) is left out: Show, Attend and Tell reads
    VGG's grid of 14 x 14 before it. A stage is what has the same grid; its map is that of its last
    module. ``channels_last`` says that maps before the last are (B, h, w, D), as Swin has them.
    """

    vectors = ("mean",)

    def __init__(self, features: OrderedDict[str, nn.Module], *, channels_last: bool) -> None:
        super().__init__(features)
        self.layer_indices: tuple[int, ...] = LAST
        self._channels_last = channels_last
        self._ends: list[int] = []  # of the stages, as places among the units

    def read(
        self, layers: Sequence[int] | None, pooled: str | None, name: str, image_size: int
    ) -> None:
        """Choose the stages that slots are made of; the pooled vector is their mean.

        Raises UserError for layers or a vector that the network does not have.
        """
        require_offered(pooled, self.vectors, name)
        stages = self.stages(image_size)
        self.layer_indices = layer_indices(
            layers, len(stages), f"{name} at image_size={image_size}"
        )
        self._ends = [sum(map(len, stages[: number + 1])) - 1 for number in range(len(stages))]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return slots (B, N, D), row by row of the grid, and their mean (B, D)."""
        maps = [super().forward(images)] if self.layer_indices == LAST else self._maps(images)
        slots = join_maps(maps, self.layer_indices)
        return slots, slots.mean(1)

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps (B, D, h, w) of the chosen stages; what follows the deepest is not run."""
        places = [self._ends[layer] for layer in self.layer_indices]
        units = list(_units(self))[: max(places) + 1]
        kept: dict[int, Tensor] = {}
        x = images
        for place, unit in enumerate(units):
            x = unit(x)
            if place in places:
                is_last = place == self._ends[-1]
                kept[place] = x.permute(0, 3, 1, 2) if self._channels_last and not is_last else x
        return [kept[place] for place in places]

    def stages(self, image_size: int) -> list[list[nn.Module]]:
        """Return the modules of each stage, from the finest grid to the last."""
        x = _meta_images(image_size)
        sides: list[tuple[int, nn.Module]] = []
        for unit in _units(self):
            x = _on_meta(unit, x)
            # a square grid has its side here in both layouts, (B, D, h, w) and (B, h, w, D)
            sides.append((x.shape[2], unit))
        return [[unit for _, unit in of] for _, of in groupby(sides, lambda pair: pair[0])]

    def last_stage(self, image_size: int) -> list[nn.Module]:
        """Return the modules whose output is as coarse as the last grid."""
        return self.stages(image_size)[-1]


class TokenTrunk(nn.Module):
    """A Vision Transformer: patch tokens as slots, the class token as the pooled image.

    Tokens of several layers are concatenated; each passes the network's last norm, as those of the
    last layer do (so DINOv2, Oquab et al. 2024, reads its layers).
    """

    vectors = ("mean", "token")

    def __init__(self, network: models.VisionTransformer) -> None:
        super().__init__()
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.encoder = network.encoder
        self.layer_indices: tuple[int, ...] = LAST
        self._pooled: str | None = None

    def read(
        self, layers: Sequence[int] | None, pooled: str | None, name: str, image_size: int
    ) -> None:
        """Choose the layers that slots are made of, and the pooled vector.

        Raises UserError for layers or a vector that the network does not have.
        """
        require_offered(pooled, self.vectors, name)
        self.layer_indices = layer_indices(layers, len(self.encoder.layers), name)
        self._pooled = pooled

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patch tokens (B, N, D), row by row, and the class token or their mean (B, D).

        Raises ValueError for images of another size than the network was built for.
        """
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        expected = self.encoder.pos_embedding.shape[1] - 1
        if patches.shape[1] != expected:
            raise ValueError(
                f"this Vision Transformer was built for {expected} patches, but images of "
                f"{images.shape[-2]} x {images.shape[-1]} make {patches.shape[1]}"
            )
        first = self.class_token.expand(patches.shape[0], -1, -1)
        tokens = self._encode(torch.cat([first, patches], dim=1))
        slots = tokens[:, 1:]
        return slots, slots.mean(1) if self._pooled == "mean" else tokens[:, 0]

    def _encode(self, tokens: Tensor) -> Tensor:
        """Return the tokens (B, 1 + N, D) of the chosen layers, of embedded ones."""
        if self.layer_indices == LAST:
            return self.encoder(tokens)
        x = self.encoder.dropout(tokens + self.encoder.pos_embedding)
        blocks = list(self.encoder.layers)
        kept: dict[int, Tensor] = {}
        for place in range(-len(blocks), max(self.layer_indices) + 1):
            x = blocks[place](x)
            if place in self.layer_indices:
                kept[place] = self.encoder.ln(x)
        return torch.cat([kept[layer] for layer in self.layer_indices], -1)

    def last_stage(self, image_size: int) -> list[nn.Module]:
        """Return the last quarter of the layers, which stands for the last of a grid's stages."""
        layers = list(self.encoder.layers)
        return [*layers[-max(1, len(layers) // 4) :], self.encoder.ln]


Trunk = GridTrunk | TokenTrunk


def build_trunk(
    name: str, image_size: int, layers: Sequence[int] | None = None, pooled: str | None = None
) -> tuple[Trunk, int]:
    """Return torchvision's network ``name`` without its classifier, random, and its slots' width D.

    ``layers`` are those that slots are made of, None for the last; ``pooled`` is the vector of the
    whole image, None for the network's own. Raises UserError for a name that torchvision does not
    have, an image size that the network cannot take, and layers or a vector that it does not have.
    """
    if name in RESNETS and layers is None and pooled is None and image_size >= 32:
        # takes any such image, and a trial run imports torch's compiler
        residual = GridTrunk(resnet_features(name), channels_last=False)
        return residual, resnet_width(name)
    try:
        trunk = _random_trunk(name, image_size)
        slots, _ = _on_meta(trunk.eval(), _meta_images(image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise UserError(
            f"the encoder {name} cannot take images of image_size={image_size}: {reason}"
        ) from error
    if layers is not None or pooled is not None:
        trunk.read(layers, pooled, name, image_size)
        slots, _ = _on_meta(trunk, _meta_images(image_size))
    if trunk.layer_indices != LAST:
        require_few_slots(slots.shape[1], trunk.layer_indices)
    return trunk, slots.shape[-1]


def _random_trunk(name: str, image_size: int) -> Trunk:
    if name in RESNETS:
        return GridTrunk(resnet_features(name), channels_last=False)
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise UserError(f"torchvision has no backbone {name!r}: {did_you_mean(name, names)}")
    return _cut(models.get_model(name, weights=None, **_options(name, image_size)))


def normalization(name: str, weights: str | None) -> tuple[list[float], list[float]]:
    """Return the mean and standard deviation of each color with which the network was trained."""
    if name in _CENTERED:
        return [0.5] * 3, [0.5] * 3
    if name in RESNETS:
        return IMAGENET_MEAN, IMAGENET_STD
    from torchvision import models

    entries = models.get_model_weights(name).__members__
    transforms = entries.get(weights or "DEFAULT", entries["DEFAULT"]).transforms()
    return transforms.mean, transforms.std


def _options(name: str, image_size: int) -> dict[str, bool | int | tuple[int, int]]:
    if name.startswith("vit_"):
        return {"image_size": image_size}
    if name.startswith("maxvit_"):
        return {"input_size": (image_size, image_size)}
    if name in _CENTERED:
        return {"aux_logits": False, "init_weights": True}
    return {}


def _cut(network: nn.Module) -> Trunk:
    from torchvision import models

    if isinstance(network, models.VisionTransformer):
        return TokenTrunk(network)
    features: OrderedDict[str, nn.Module] = OrderedDict()
    for child, module in network.named_children():
        if child in _CLASSIFIER:
            break
        # a list of blocks is a chain here too (MaxViT)
        features[child] = nn.Sequential(*module) if isinstance(module, nn.ModuleList) else module
    if isinstance(network, models.DenseNet):
        features["relu"] = nn.ReLU(inplace=True)  # torchvision applies it outside of the features
    last = next(reversed(features.values()))
    if isinstance(last, nn.Sequential) and isinstance(last[-1], nn.MaxPool2d):
        del last[-1]
    return GridTrunk(features, channels_last=isinstance(network, models.SwinTransformer))


def _units(module: nn.Module) -> Iterator[nn.Module]:
    # exact type: subclasses (an EfficientNet's convolution) may do more than a chain
    for child in module.children():
        if type(child) is nn.Sequential:
            yield from _units(child)
        else:
            yield child


def _meta_images(image_size: int) -> Tensor:
    return torch.empty(2, 3, image_size, image_size, device="meta")


@torch.no_grad()
def _on_meta(module: nn.Module, x: Tensor) -> Any:
    tensors = chain(module.named_parameters(), module.named_buffers())
    return functional_call(
        module, {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}, (x,)
    )
