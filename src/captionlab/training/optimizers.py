"""An optimizer's parameter groups, and how it begins anew in the midst of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch.optim import Adam, AdamW, Optimizer

from captionlab.models.captioner import Captioner

ParameterGroup = dict[str, Any]  # torch's: "params", and options of the group
NewOptimizer = Callable[[Iterable[ParameterGroup]], Optimizer]

# options of torch's Adam that choose how its step is computed
IMPLEMENTATIONS = frozenset(("fused", "foreach", "capturable", "differentiable"))
FUSED = ("cpu", "cuda")  # devices whose fused kernel is old enough to be trusted


def build_optimizer(new: NewOptimizer, groups: list[ParameterGroup]) -> Optimizer:
    """Return an optimizer of parameter groups: Adam and AdamW by torch's fused kernel where it has one.

    That is one pass over the weights instead of several. Another implementation that is asked for
    (``fused=false``, ``foreach=true``) is kept. A resumed run steps as its checkpoint's did.
    """
    chosen = IMPLEMENTATIONS & getattr(new, "keywords", {}).keys()
    parameters = [parameter for group in groups for parameter in group["params"]]
    known = all(p.device.type in FUSED and p.is_floating_point() for p in parameters)
    if chosen or not known or getattr(new, "func", None) not in (Adam, AdamW):
        return new(groups)
    optimizer: Any = new(groups, fused=True)  # type: ignore[call-arg]
    # it could take the scale of float16's loss off by itself, for which Lightning refuses to clip
    # gradients in mixed precision; so the scale is taken off before, as for any other optimizer
    optimizer._step_supports_amp_scaling = False
    optimizer.register_load_state_dict_post_hook(_lay_out_averages)
    return cast("Optimizer", optimizer)


def _lay_out_averages(optimizer: Optimizer) -> None:
    """Give loaded averages the layout of their weights, which the fused kernel takes for granted.

    It walks through memory in order: contiguous averages of channels-last weights would be mixed up.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def parameter_groups(captioner: Captioner) -> list[ParameterGroup]:
    """Return the trained parameters in groups: the encoder's, if any, are the second.

    The encoder has a learning rate of its own where it asks for one.
    """
    encoder = [p for p in captioner.encoder.parameters() if p.requires_grad]
    inside = {id(p) for p in encoder}
    rest = [p for p in captioner.parameters() if p.requires_grad and id(p) not in inside]
    if not encoder:
        return [{"params": rest}]
    rate = captioner.encoder.learning_rate
    own = {"params": encoder} if rate is None else {"params": encoder, "lr": rate}
    return [{"params": rest}, own]


def reset_optimizer(optimizer: Optimizer, learning_rate: float | None) -> None:
    """Forget what an optimizer has averaged, and give its first group a learning rate.

    The other groups keep the proportion of their rates; None leaves all rates as they are.
    """
    optimizer.state.clear()
    if learning_rate is None:
        return
    main = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * (group["lr"] / main if main else 1.0)
