"""Adversarial training by policy gradient: the discriminator's score is a reward.

Legend: B images, K samples an image, R completions of a prefix, T tokens.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Unpack, get_args

import torch
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated
from captionlab.models.captioner import Captioner
from captionlab.objectives.adversarial.discriminator_trainer import DiscriminatorTrainer
from captionlab.objectives.adversarial.discriminators import Discriminator
from captionlab.objectives.adversarial.objective import (
    AdversarialObjective,
    AdversarialParts,
    step_diagnostics,
)
from captionlab.objectives.adversarial.samples import SampledBatch, detached_float, policy_loss
from captionlab.objectives.base import Batch
from captionlab.objectives.policy_gradient.baselines import leave_one_out
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.rewards import score_samples
from captionlab.objectives.policy_gradient.rollouts import rollout_values

Signal = Literal["log_odds", "probability"]


class DiscriminatorRewards(NamedTuple):
    """What a discriminator's scores are worth as rewards of the sampled words."""

    scores: Tensor  # (B,K)
    rewards: Tensor  # (B,K,T) or (B,K,1)
    baseline: Tensor  # (B,K,1)


class PolicyGAN(AdversarialObjective):
    """The reward ``lambda D + (1 - lambda) metric`` with the leave-one-out baseline.

    Dai et al. 2017; the mix: Chen et al. 2019. D is the discriminator's log-odds, which do not fade
    where it is sure, or its probability (``signal``). A caption that is scored in a set earns what
    it adds: the set's D less that of the set without it. With ``rollouts`` a word earns the mean D
    of so many completions of the caption up to it (``rollout_values``).

    Raises:
        UserError: for values outside their range.
    """

    def __init__(
        self, *, signal: Signal = "log_odds", rollouts: int = 0, **parts: Unpack[AdversarialParts]
    ) -> None:
        super().__init__(**parts)
        if signal not in get_args(Signal):
            hint = did_you_mean(str(signal), get_args(Signal))
            raise UserError(f"objective.signal={signal!r}: {hint}")
        if not rollouts >= 0:
            raise UserError(f"objective.rollouts={rollouts} must not be negative")
        self.signal = signal
        self.rollouts = rollouts

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics; the discriminator's gradient waits for its step.

        The diagnostics are those of ``step_diagnostics``, ``nll`` and ``distinct_2``, the share of
        different word pairs among those of the batch's samples.
        """
        samples = self.sample(captioner, batch)
        trainer = self.trainer_for(samples)
        weight = self.discriminator_weight(trainer)
        memory = detached_float(samples.memory)
        scores, rewards, baseline = self._rewards(captioner, trainer, memory, samples)
        metrics = score_samples(self.reward, batch, samples.captions)
        real = self.real_captions(batch, trainer.network)
        learned = self.train_discriminator(trainer, memory, real, samples)
        advantage = self.metric_advantage(metrics) + weight * (rewards - baseline)
        loss, entropy = policy_loss(samples, advantage)
        diagnostics = step_diagnostics(
            metrics, learned, trainer=trainer, weight=weight, scores=scores, entropy=entropy
        )
        return self.finish(captioner, batch, samples, loss, diagnostics)

    @torch.no_grad()
    def _rewards(
        self,
        captioner: Captioner,
        trainer: DiscriminatorTrainer,
        memory: Memory,
        samples: SampledBatch,
    ) -> DiscriminatorRewards:
        """Return the discriminator's scores, what each word earns, and what is compared with it.

        ``memory``: in single precision, in which the discriminator reads it.
        """
        mask = samples.mask
        with trainer.frozen() as network:
            with torch.autocast(mask.device.type, enabled=False):
                encoded = network.encode(network.embed(*samples.tokens), mask)
                scores = network.match(memory, encoded, mask).scores
                without_each = network.leave_one_out(memory, encoded, mask)
            rewards = self._signal(scores)
            # of a set every caption has the same score: what it adds is the set with it and without
            baseline = (
                leave_one_out(rewards) if without_each is None else self._signal(without_each)
            )
            word_rewards = rewards.unsqueeze(-1)
            if self.rollouts:
                word_rewards = self._rollout_rewards(
                    captioner, network, memory, samples, encoded, rewards
                )
        return DiscriminatorRewards(scores, word_rewards, baseline.unsqueeze(-1))

    def _rollout_rewards(
        self,
        captioner: Captioner,
        network: Discriminator,
        memory: Memory,
        samples: SampledBatch,
        encoded: Tensor,
        rewards: Tensor,
    ) -> Tensor:
        """Return each word's mean reward over completions (B,K,T); (B,K) are whole captions'."""

        def score(completions: Generated) -> Tensor:
            """Return the rewards of completed captions (B,KR)."""
            steps = torch.arange(completions.tokens.shape[-1], device=encoded.device)
            mask = steps < completions.lengths.unsqueeze(-1)
            with torch.autocast(encoded.device.type, enabled=False):
                replaced = network.encode(network.embed(completions.tokens, mask), mask)
                return self._signal(network.replace_each(memory, encoded, replaced, self.rollouts))

        with without_dropout(captioner.decoder):
            return rollout_values(
                DeterministicStepModel(captioner),
                samples.memory.each(torch.Tensor.detach),
                samples.captions,
                sampling=self.sampling,
                completions=self.rollouts,
                score=score,
                final_scores=rewards,
                special=special_ids(captioner),
            )

    def _signal(self, scores: Tensor) -> Tensor:
        return scores if self.signal == "log_odds" else scores.sigmoid()
