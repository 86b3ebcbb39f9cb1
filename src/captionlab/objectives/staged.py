"""One objective after another inside of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.objectives.base import Batch, Objective, StageStart, require_objective
from captionlab.objectives.policy_gradient.rewards import TrainingText


class Staged(Objective):
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
        self.first = require_objective(first)
        self.then = require_objective(then)
        self.switch_epoch = switch_epoch
        self.learning_rate = learning_rate
        self.requires_pretrained = first.requires_pretrained
        self.reads_prompts = first.reads_prompts and then.reads_prompts
        self.needs_training_text = first.needs_training_text or then.needs_training_text
        self.teacher_paths = (*first.teacher_paths, *then.teacher_paths)
        self.reads_images = first.reads_images or then.reads_images
        self.on_train_batch_start(0.0)

    @property
    def name(self) -> str:
        """The name of the objective that trains now."""
        return self.current.name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of both objectives."""
        return (*self.first.names, *self.then.names)

    @property
    def current(self) -> Objective:
        """The objective that trains now."""
        return self.then if self.in_second_stage else self.first

    @property
    def pauses_schedule(self) -> bool:
        """Whether the second stage has begun, with a rate of its own."""
        own_rate = self.in_second_stage and self.learning_rate is not None
        return own_rate or self.current.pauses_schedule

    def require_epochs(self, max_epochs: int) -> None:
        """Raise UserError where the second stage would never begin."""
        if max_epochs <= self.switch_epoch:
            raise UserError(
                f"objective.switch_epoch={self.switch_epoch}: the second objective would never "
                f"begin in trainer.max_epochs={max_epochs}; raise these, or switch earlier"
            )
        self.first.require_epochs(self.switch_epoch)
        self.then.require_epochs(max_epochs - self.switch_epoch)

    def set_teachers(self, captioners: Sequence[Captioner]) -> None:
        """Hand each objective the captioners that it learns from."""
        own = len(self.first.teacher_paths)
        self.first.set_teachers(captioners[:own])
        self.then.set_teachers(captioners[own:])

    def on_fit_start(
        self, training_text: TrainingText | None, start_scores: Mapping[str, float]
    ) -> None:
        """Prepare both objectives."""
        self.first.on_fit_start(training_text, start_scores)
        self.then.on_fit_start(training_text, start_scores)

    def run_artifacts(self) -> dict[str, np.ndarray]:
        """Return what both objectives leave in the run folder."""
        return {**self.first.run_artifacts(), **self.then.run_artifacts()}

    def on_train_epoch_start(
        self, epoch: int, val_scores: Mapping[str, float]
    ) -> StageStart | None:
        """Return how the second stage starts, where this is its first epoch."""
        if epoch < self.switch_epoch:
            return self.first.on_train_epoch_start(epoch, val_scores)
        if epoch > self.switch_epoch:
            return self.then.on_train_epoch_start(epoch - self.switch_epoch, val_scores)
        self.then.on_stage_start(val_scores)
        return StageStart(from_best_weights=True, learning_rate=self.learning_rate)

    def on_train_batch_start(self, epoch: float) -> None:
        """Set the time, which begins anew for the second objective."""
        self.in_second_stage = epoch >= self.switch_epoch
        self.current.on_train_batch_start(
            epoch - self.switch_epoch if self.in_second_stage else epoch
        )

    def on_before_optimizer_step(self) -> None:
        """Let the objective that trains now step weights of its own, if it has any."""
        self.current.on_before_optimizer_step()

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return loss and diagnostics of the objective that trains now."""
        return self.current(captioner, batch)
