"""An optimizer's parameter groups, and how it begins anew in the midst of a run."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from captionlab.models.captioner import Captioner

ParameterGroup = dict[str, Any]  # torch's: "params", and options of the group


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
