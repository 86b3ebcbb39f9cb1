"""A look at the first rewards: do they fit the model that training goes on from?"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.objectives.base import averaged
from captionlab.objectives.policy_gradient.rewards import Reward

# sampled captions score lower than searched ones, and training images higher than unseen ones
LEAST, MOST = 0.2, 5.0


class StartCheck:
    """Compares the mean of the first ``steps`` rewards with the starting model's validation score."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.expected: dict[str, float] = {}
        self.observed: dict[str, list[float]] = {}

    def begin(self, reward: Reward, scores: Mapping[str, float]) -> None:
        """Remember the validation scores that the reward is made of."""
        self.expected = {name: scores[name] for name in reward.weights if name in scores}
        self.observed = {name: [] for name in self.expected}

    def __call__(self, scores: Mapping[str, Tensor]) -> None:
        """Count one step.

        Raises:
            UserError: after the last of the steps, where a mean is far from the validation score.
        """
        if not self.expected or not self.steps:
            return
        for name, means in self.observed.items():
            means.append(float(averaged(scores[name].mean())))
        if len(next(iter(self.observed.values()))) < self.steps:
            return
        for name, expected in self.expected.items():
            mean = sum(self.observed[name]) / self.steps
            if not LEAST * expected <= mean <= MOST * expected:
                raise UserError(
                    f"The sampled captions' mean {name} is {mean:.3f} over the first {self.steps} "
                    f"steps, and the starting model's val/{name} was {expected:.3f}: it seems to be "
                    "trained with another vocabulary, or scored against other references. Start "
                    "from the right checkpoint with init_from=, or switch the check off with "
                    "objective.check_steps=0"
                )
        self.expected = {}
