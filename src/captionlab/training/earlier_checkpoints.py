"""Runs of earlier versions go on: names of weights, and the order in which an optimizer knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from captionlab.inference.checkpoints import KEY, OPTIMIZERS, WEIGHTS_PREFIX, current_weight

StateDict = dict[str, Any]  # as torch.save takes it


def update_checkpoint(checkpoint: StateDict, module: nn.Module) -> None:
    """Give the weights of an earlier version's checkpoint this version's names, in place.

    An optimizer's state has no names: it counts the parameters in the order of the module that
    they belonged to, and is brought into the order of ``module``.
    """
    stored: dict[str, Tensor] = checkpoint["state_dict"]
    names = [
        WEIGHTS_PREFIX + current_weight(name.removeprefix(WEIGHTS_PREFIX), checkpoint[KEY])
        if name.startswith(WEIGHTS_PREFIX)
        else name
        for name in stored
    ]
    if names == list(stored):
        return
    checkpoint["state_dict"] = dict(zip(names, stored.values(), strict=True))
    for state in checkpoint.get(OPTIMIZERS, []):
        _reorder(state, names, module)


def _reorder(optimizer: StateDict, earlier: list[str], module: nn.Module) -> None:
    """Bring an optimizer's groups, in the order of ``earlier`` names, into the module's own."""
    parameters: Mapping[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    place = {id(parameter): index for index, parameter in enumerate(module.parameters())}
    trained = dict.fromkeys(
        place[id(parameters[name])]
        for name in earlier
        if name in parameters and parameters[name].requires_grad
    )
    encoder = {place[id(p)] for n, p in parameters.items() if n.startswith("captioner.encoder.")}
    for index, group in enumerate(optimizer["param_groups"]):
        # the encoder's parameters are the second group (CaptioningModule.configure_optimizers)
        own = [number for number in trained if (number in encoder) == (index == 1)]
        ids = dict(zip(own, group["params"], strict=True))
        group["params"] = [ids[number] for number in sorted(ids)]
