"""One objective after another inside of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.objectives.base import Batch, Objective, Prepared, Rewarding, Stepping, Timed
from captionlab.objectives.policy_gradient.rewards import TrainingText


class Staged(nn.Module):
    """``first`` for ``switch_epoch`` epochs, and ``then`` from the best weights so far.

    ``learning_rate`` is that of the second stage, constant (None: the schedule goes on); its
    optimizer begins anew. The usual way to self-critical training (Rennie et al. 2017, section 4).
    Raises UserError for a ``switch_epoch`` below 1 or a rate that is not positive.
    """

    def __init__(
        self,
        *,
        first: Objective,
        then: Objective,
        switch_epoch: int = 3,
        learning_rate: float | None = 5e-5,
    ) -> None:
        super().__init__()
        if switch_epoch < 1:
            raise UserError(
                f"objective.switch_epoch={switch_epoch} must be at least 1: use the second "
                "objective alone with init_from="
            )
        if learning_rate is not None and not learning_rate > 0:
            raise UserError(f"objective.learning_rate={learning_rate} must be positive, or null")
        self.first: Any = first
        self.then: Any = then
        self.switch_epoch = switch_epoch
        self.learning_rate = learning_rate
        self.at(0.0)

    @property
    def name(self) -> str:
        """The name of the objective that trains now."""
        return self.now.name

    @property
    def now(self) -> Any:
        """The objective that trains now."""
        return self.then if self.second else self.first

    @property
    def needs_start(self) -> bool:
        """Whether the first objective cannot begin with random weights."""
        return isinstance(self.first, Rewarding) and self.first.needs_start

    def at(self, epoch: float) -> None:
        """Set the time: epochs done so far, with the part of the present one."""
        self.second = epoch >= self.switch_epoch
        if isinstance(self.now, Timed):
            self.now.at(epoch - self.switch_epoch if self.second else epoch)

    def prepare(self, text: TrainingText, scores: Mapping[str, float]) -> None:
        """Prepare the objectives that want it."""
        for objective in (self.first, self.then):
            if isinstance(objective, Prepared):
                objective.prepare(text, scores)

    def begin_check(self, scores: Mapping[str, float]) -> None:
        """Tell the second objective the validation scores that it starts from."""
        if hasattr(self.then, "begin_check"):
            self.then.begin_check(scores)

    def to_keep(self) -> dict[str, Any]:
        """Return what the objectives leave in the run folder."""
        parts = [part.to_keep() for part in (self.first, self.then) if isinstance(part, Rewarding)]
        return {name: array for part in parts for name, array in part.items()}

    def step(self) -> None:
        """Let the objective that trains now take a step of its own, if it takes any."""
        if isinstance(self.now, Stepping):
            self.now.step()

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return loss and diagnostics of the objective that trains now."""
        return self.now(captioner, batch)


def restart(optimizer: torch.optim.Optimizer, learning_rate: float | None) -> None:
    """Forget what an optimizer has averaged, and give it a rate.

    Groups keep the proportion of their rates.
    """
    optimizer.state.clear()
    if learning_rate is None:
        return
    main = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * (group["lr"] / main if main else 1.0)
