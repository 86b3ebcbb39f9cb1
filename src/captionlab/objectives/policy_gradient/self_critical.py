"""Self-critical sequence training: captions are sampled, and what scores well becomes likelier.

Legend: B images, K samples an image, T tokens.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.greedy import Greedy
from captionlab.decoding.sampling import Sampling
from captionlab.models.captioner import Captioner
from captionlab.objectives.base import Batch, averaged, mean_nll, rank_weight
from captionlab.objectives.policy_gradient.baselines import leave_one_out
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    sequence_log_probs,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.rewarded import Rewarded
from captionlab.objectives.policy_gradient.rewards import Reward, score_samples
from captionlab.objectives.prompted_images import PromptedImages, prompted_images

Baseline = Literal["greedy", "leave_one_out", "moving_average"]


class SelfCritical(Rewarded):
    """Policy gradient on a sequence's reward (Rennie et al. 2017, equations 8 to 10).

    For each image, or each prompt of it, ``num_samples`` captions are drawn, all from one encoded memory, and
    ``-(r - b) log p(caption)`` is minimized, summed over captions and divided by their tokens. The
    ``baseline`` b is the reward of the greedy caption; or, without another decode, the mean reward
    of the image's other samples (leave_one_out, Luo 2020, equation 4); or a moving average of
    rewards, ``b = decay b + (1 - decay) mean``. Samples are drawn, and their log-probabilities
    computed anew, without dropout: both are of one and the same policy. Only tokens that were drawn
    reach the vocabulary, so memory is that of cross-entropy on as many captions.

    ``likelihood`` adds that much cross-entropy of the batch's own captions. Over the first
    ``check_steps`` steps the mean reward is compared with the starting model's validation score:
    a model with another vocabulary, or other frequencies, is found out before it is spoiled.

    Raises:
        UserError: for a value outside its range, and as ``Reward`` does.
    """

    name = "self_critical"
    average: Tensor

    def __init__(
        self,
        *,
        reward: Reward,
        baseline: Baseline = "leave_one_out",
        num_samples: int = 5,
        temperature: float = 1.0,
        max_length: int = 20,
        decay: float = 0.9,
        likelihood: float = 0.0,
        check_steps: int = 20,
    ) -> None:
        super().__init__(reward=reward, check_steps=check_steps)
        _require_baseline(baseline, num_samples)
        if not 0 <= decay < 1:
            raise UserError(f"objective.decay={decay} is not in [0, 1)")
        if not likelihood >= 0:
            raise UserError(f"objective.likelihood={likelihood} must not be negative")
        self.baseline = baseline
        self.likelihood = likelihood
        self.sampling = Sampling(
            num_samples=num_samples, temperature=temperature, max_length=max_length
        )
        self.greedy = Greedy(max_length=max_length)
        self.decay = decay
        self.register_buffer("average", torch.tensor(math.nan))

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics: rewards by name, ``baseline``, ``length``, ``ended``.

        ``ended`` is the share of samples that ended by themselves. Raises UserError where the
        rewards do not fit the starting model's validation score.
        """
        # a connector's dropout stays, as in the code of Rennie et al.: one memory for samples and gradient
        memory = captioner.encode(batch.images)
        special = special_ids(captioner)
        with without_dropout(captioner.decoder):
            asked = prompted_images(memory, batch)
            detached = asked.memory.each(torch.Tensor.detach)
            model = DeterministicStepModel(captioner)
            samples = asked.sample(self.sampling, model, detached, **special)
            scores = score_samples(self.reward, asked, samples)
            baseline = self._baseline(captioner, detached, asked, scores["reward"])
            log_probs, lengths = sequence_log_probs(
                captioner, asked.memory, samples, self.sampling.temperature, asked.prompts
            )
        advantage = scores["reward"] - baseline
        loss = -(advantage * log_probs).sum() / lengths.sum().clamp_min(1)
        loss = loss * rank_weight(lengths.sum(), loss)
        self.check(scores)
        diagnostics = {name: value.mean() for name, value in scores.items()}
        diagnostics |= {
            "baseline": baseline.mean(),
            "advantage": advantage.abs().mean(),
            "length": lengths.float().mean(),
            "ended": (samples.tokens == special["eos_id"]).any(-1).float().mean(),
        }
        if self.likelihood:
            nll = mean_nll(captioner, memory, batch)
            diagnostics["nll"] = nll.detach()
            loss = loss + self.likelihood * nll
        return loss, diagnostics

    def _baseline(
        self, captioner: Captioner, memory: Memory, asked: PromptedImages, reward: Tensor
    ) -> Tensor:
        """Return what a reward (B,K) is compared with, (B,K) or (B,1)."""
        if self.baseline == "greedy":
            model = DeterministicStepModel(captioner)
            captions = asked.sample(self.greedy, model, memory, **special_ids(captioner))
            return score_samples(self.reward, asked, captions)["reward"]
        if self.baseline == "leave_one_out":
            return leave_one_out(reward)
        mean = averaged(reward.mean())
        before = torch.where(self.average.isnan(), mean, self.average)
        self.average.copy_(self.decay * before + (1 - self.decay) * mean)
        return before.expand(len(reward), 1)


def _require_baseline(baseline: str, num_samples: int) -> None:
    if baseline not in get_args(Baseline):
        hint = did_you_mean(str(baseline), get_args(Baseline))
        raise UserError(f"objective.baseline={baseline!r}: there is no such baseline; {hint}")
    least = 2 if baseline == "leave_one_out" else 1
    if num_samples < least:
        raise UserError(
            f"objective.num_samples={num_samples} must be at least {least} for "
            f"objective.baseline={baseline}"
        )
