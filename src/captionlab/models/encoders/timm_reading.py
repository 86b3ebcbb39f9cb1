"""What is read of a timm network: the slots of chosen layers, and a vector of the whole image.

Legend: B images, N memory slots, h x w a grid, d width of a layer, D memory width, P width of the
pooled vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captionlab.core.errors import UserError, first_line
from captionlab.models.encoders.efficientnet_lite import LITE
from captionlab.models.encoders.layers import (
    LAST,
    join_maps,
    layer_indices,
    require_few_slots,
    require_offered,
)


@dataclass(frozen=True)
class Reading:
    """Which layers of a network are read, and which vector (None: the network's own)."""

    layers: tuple[int, ...]
    pooled: str | None

    @classmethod
    def of(
        cls, network: Any, name: str, layers: Sequence[int] | None, pooled: str | None
    ) -> Reading:
        """Return what is read of timm's network ``name``.

        The last layer is the network's features, and the others those that timm lists: the end of
        each coarser grid, or a Transformer's blocks. Raises UserError for layers and vectors that it
        does not have.
        """
        has_inner = hasattr(network, "forward_intermediates")
        count = len(getattr(network, "feature_info", ())) if has_inner else 1
        offered = ["mean"]
        offered += ["token"] if getattr(network, "cls_token", None) is not None else []
        offered += ["projection"] if embeds_beside_text(name) else []
        require_offered(pooled, offered, f"timm's {name}")
        return cls(layer_indices(layers, max(count, 1), f"timm's {name}"), pooled)

    def measure(self, network: Any, name: str, image_size: int) -> tuple[int, int]:
        """Return the widths D and P, by a trial run.

        Raises:
            UserError: if the network cannot be read so, or has too many slots.
        """
        device = next(network.parameters()).device
        network.eval()
        try:
            with torch.no_grad():
                pixels = torch.zeros(1, 3, image_size, image_size, device=device)
                slots, pooled = self(network, pixels)
        except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
            raise UserError(
                f"timm's {name} cannot be read at layers={list(self.layers)} with image_size="
                f"{image_size}: {first_line(error)}"
            ) from error
        if self.layers != LAST:
            require_few_slots(slots.shape[1], self.layers)
        return slots.shape[-1], pooled.shape[-1]

    def __call__(self, network: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return slots (B, N, D) and the pooled vector (B, P) of normalized images."""
        if self.layers == LAST:
            final = network.forward_features(pixels)
            slots, token = _slots(network, final), _token(network, final)
        else:
            final, slots, token = self._inner(network, pixels)
        if self.pooled == "projection":
            return slots, network.forward_head(final)
        if self.pooled is None and self.layers == LAST:
            pooled = network.forward_head(final, pre_logits=True)
            return slots, pooled if pooled.shape[-1] == slots.shape[-1] else slots.mean(1)
        return slots, slots.mean(1) if self.pooled == "mean" or token is None else token

    def _inner(self, network: Any, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the network's features, slots (B, N, D) and class tokens (B, D) of the layers."""
        count = len(network.feature_info)
        inner = sorted(layer for layer in self.layers if layer != -1)
        options: dict[str, Any] = {"norm": True, "output_fmt": "NCHW"}
        if _prefix(network):
            options["return_prefix_tokens"] = True
        final, found = network.forward_intermediates(
            pixels, indices=[count + layer for layer in inner], **options
        )
        pairs = [pair if isinstance(pair, tuple | list) else (pair, None) for pair in found]
        maps = dict(zip(inner, (pair[0] for pair in pairs), strict=True))
        side = pairs[0][0].shape[-2:]
        last = _slots(network, final).mT
        maps[-1] = _grid(network, final) if final.ndim == 4 else last.unflatten(-1, side)
        tokens = {layer: pair[1] for layer, pair in zip(inner, pairs, strict=True)}
        slots = join_maps([maps[layer] for layer in self.layers], self.layers)
        token = _token(network, final)
        if token is None:
            return final, slots, None
        firsts = [token if layer == -1 else tokens[layer][:, 0] for layer in self.layers]
        return final, slots, torch.cat(firsts, -1)


def embeds_beside_text(name: str) -> bool:
    """Return whether timm's weights of a name end in an image embedding that is compared with texts.

    That is so of CLIP's and SigLIP's towers, unless they were tuned to classify afterwards, or lost
    their own pooling.
    """
    if name in LITE:
        return False
    import timm

    settings = timm.models.get_pretrained_cfg(name)
    whole = name if settings is None else f"{name} {settings.tag}"
    is_tower = "siglip" in whole or ("clip" in whole and embedding_width(name) > 0)
    return is_tower and "_ft_in" not in whole and "_gap" not in whole


def embedding_width(name: str) -> int:
    """Return the width of a tower's last linear layer, 0 where its pooling ends it."""
    import timm

    settings = timm.models.get_pretrained_cfg(name)
    return 0 if settings is None else int(settings.num_classes)


def _prefix(network: Any) -> int:
    """Return how many tokens stand before the patches, if they can be asked for."""
    parameters = inspect.signature(network.forward_intermediates).parameters
    known = "return_prefix_tokens" in parameters
    return int(getattr(network, "num_prefix_tokens", 0)) if known else 0


def _grid(network: Any, final: Tensor) -> Tensor:
    """Return features as (B, d, h, w); Swin has them as (B, h, w, d)."""
    return final if final.shape[1] == network.num_features else final.permute(0, 3, 1, 2)


def _slots(network: Any, final: Tensor) -> Tensor:
    """Return slots (B, N, d) of a grid or of tokens."""
    if final.ndim == 4:
        return _grid(network, final).flatten(2).transpose(1, 2)
    return final[:, getattr(network, "num_prefix_tokens", 0) :]


def _token(network: Any, final: Tensor) -> Tensor | None:
    """Return the class token (B, d), None where there is none."""
    has_token = final.ndim == 3 and getattr(network, "cls_token", None) is not None
    return final[:, 0] if has_token else None
