"""What is read of a vision model of Hugging Face: slots of chosen layers, a vector of the image.

Legend: B images, N memory slots, d width of a layer, D memory width, P width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.hugging_face import Factory, pretrained, transformers
from captionlab.models.encoders.layers import LAST, join_maps, layer_indices, require_offered

WHO = "model.encoder"


@dataclass(frozen=True)
class Reading:
    """Which layers are read, and which vector (None: the model's own).

    ``prefix`` tokens stand before the patches. ``norm`` is the module through which the last layer
    goes, as all do where they are alike.
    """

    layers: tuple[int, ...]
    pooled: str | None
    prefix: int
    norm: str | None = None

    def __call__(
        self, network: Any, projection: nn.Module | None, pixels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return slots (B, N, D) and the pooled vector (B, P) of normalized images."""
        own_layer = self.layers == LAST
        output = network(pixel_values=pixels, **({} if own_layer else HIDDEN))
        if own_layer:
            rows = as_rows(output.last_hidden_state)
        elif _are_alike(output):
            rows = torch.cat([self._tokens(network, output, layer) for layer in self.layers], -1)
        else:
            rows = join_maps([_map(output, layer) for layer in self.layers], self.layers)
        slots = rows[:, self.prefix :]
        own = getattr(output, "pooler_output", None)
        own = None if own is None else own.flatten(1)
        if self.pooled == "projection":
            if own is None:
                raise ValueError("the model pools nothing")
            return slots, own if projection is None else projection(own)
        if self.pooled is None and own_layer and own is not None:
            if own.shape[-1] == slots.shape[-1]:
                return slots, own
        elif self.prefix and (self.pooled == "token" or (self.pooled is None and not own_layer)):
            return slots, rows[:, 0]
        return slots, slots.mean(1)

    def _tokens(self, network: Any, output: Any, layer: int) -> Tensor:
        """Return the tokens (B, prefix + N, d) of a layer, through the last norm."""
        if layer == -1:
            return output.last_hidden_state
        hidden = output.hidden_states[layer]
        return hidden if self.norm is None else network.get_submodule(self.norm)(hidden)


HIDDEN = {"output_hidden_states": True}


def reading_of(
    network: Any,
    pixels: Tensor,
    prefix: int,
    layers: Sequence[int] | None,
    pooled: str | None,
    name: str,
) -> Reading:
    """Return what is read of a model, by a trial run on images.

    Raises UserError for layers that it does not have, or a class token where there is none.
    """
    offered = ["mean", *(["token"] if prefix else []), "projection"]
    require_offered(pooled, offered, name)
    if layers is None:
        return Reading(LAST, pooled, prefix)
    outputs: dict[str, Tensor] = {}

    def keep(module_name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(module_name, output)

    # a norm, or what stands for it, has no modules inside
    leaves = [(n, m) for n, m in network.named_children() if not list(m.children())]
    hooks = [module.register_forward_hook(keep(name)) for name, module in leaves]
    try:
        output = network(pixel_values=pixels, **HIDDEN)
    finally:
        for hook in hooks:
            hook.remove()
    states = getattr(output, "hidden_states", None) or ()
    indices = layer_indices(layers, max(len(states) - 1, 1), name)
    last = output.last_hidden_state
    norm = next((name for name, value in outputs.items() if value is last), None)
    return Reading(indices, pooled, prefix, norm)


def image_projection(whole: Any, name: str, weights: str | None) -> nn.Linear | None:
    """Return what makes a model's pooled vector the embedding that is compared with texts.

    None where that is the pooled vector itself, as in SigLIP.

    Raises:
        UserError: if the model has no such embedding, or its files do not hold it.
    """
    vision = getattr(whole, "vision_model", whole)
    kind = vision.config.model_type
    linear = getattr(whole, "visual_projection", None)
    if linear is None and "clip" in kind:
        linear = _stored_projection(whole, name) if weights == "DEFAULT" else _projection(vision)
    if isinstance(linear, nn.Linear):
        # a checkpoint holds the tower's entries alone
        vision.config.projection_dim = linear.out_features
        return linear
    offered = ("mean", "projection") if "siglip" in kind else ("mean",)
    require_offered("projection", offered, f"{name} ({kind})")
    return None


def _projection(vision: Any) -> nn.Linear | None:
    """Return a random projection of the width that a tower's entries hold, None without one."""
    width = getattr(vision.config, "projection_dim", None)
    if width is None:
        return None
    if type(width) is not int or width < 1:
        raise UserError(f"{WHO}.architecture.projection_dim={width!r:.40} must be at least 1")
    return nn.Linear(vision.config.hidden_size, width, bias=False)


def _stored_projection(whole: Any, name: str) -> nn.Linear | None:
    """Return the projection that a tower's files hold beside it, None where they do not."""
    factory: Factory | None = getattr(
        transformers(WHO), f"{type(whole).__name__}WithProjection", None
    )
    if factory is None:
        return None
    tower, info = pretrained(WHO, factory, name, output_loading_info=True)
    is_missing = any("visual_projection" in key for key in info["missing_keys"])
    linear: nn.Linear = tower.visual_projection
    return None if is_missing else linear


def as_rows(tensor: Tensor) -> Tensor:
    """Return slots (B, N, D) of tokens (B, N, D) or a grid (B, D, h, w)."""
    return tensor.flatten(2).transpose(1, 2) if tensor.ndim == 4 else tensor


def _are_alike(output: Any) -> bool:
    """Return whether all layers give tokens of one number and width, as a plain Transformer's."""
    last = output.last_hidden_state
    return last.ndim == 3 and all(state.shape == last.shape for state in output.hidden_states)


def _map(output: Any, layer: int) -> Tensor:
    """Return a layer of a pyramid as a map (B, d, h, w)."""
    hidden = output.hidden_states[layer]
    reshaped = getattr(output, "reshaped_hidden_states", None)
    if hidden.ndim == 4:
        grid = hidden
    elif reshaped is not None:
        grid = reshaped[layer]
        grid = grid if grid.shape[1] == hidden.shape[-1] else grid.permute(0, 3, 1, 2)
    else:
        side = isqrt(hidden.shape[1])
        grid = hidden.mT.unflatten(-1, (side, side))
    if layer != -1:
        return grid
    last = output.last_hidden_state
    return last if last.ndim == 4 else last.mT.unflatten(-1, grid.shape[-2:])
