"""What objectives share that reward sampled captions of a captioner trained before."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping

import numpy as np

from captionlab.core.errors import UserError
from captionlab.objectives.base import Objective
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from captionlab.objectives.policy_gradient.start_check import StartCheck


class Rewarded(Objective, ABC):
    """The base of objectives with a ``reward``; ``check`` compares the first ones with validation.

    Over the first ``check_steps`` steps the mean reward is compared with the starting model's
    validation score. Raises UserError for a negative number of them.
    """

    requires_pretrained = True
    needs_training_text = True

    def __init__(self, *, reward: Reward, check_steps: int) -> None:
        super().__init__()
        if check_steps < 0:
            raise UserError(f"objective.check_steps={check_steps} must be 0 (no check) or more")
        self.reward = reward
        self.check = StartCheck(check_steps)

    def on_fit_start(
        self, training_text: TrainingText | None, start_scores: Mapping[str, float]
    ) -> None:
        """Count the training references, and remember the starting model's validation scores.

        Raises:
            UserError: if a score of the reward cannot be had.
        """
        assert training_text is not None  # needs_training_text
        self.reward.prepare(training_text)
        self.on_stage_start(start_scores)

    def on_stage_start(self, start_scores: Mapping[str, float]) -> None:
        """Compare the next rewards with these validation scores."""
        self.check.begin(self.reward, start_scores)

    def run_artifacts(self) -> dict[str, np.ndarray]:
        """Return the document frequencies that the rewards are weighed by."""
        return self.reward.document_frequencies()
