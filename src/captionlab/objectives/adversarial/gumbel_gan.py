"""Adversarial training by straight-through Gumbel-softmax: the discriminator's gradient.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner
from captionlab.objectives.adversarial.discriminator_trainer import (
    DiscriminatorTrainer,
    MaskedTokens,
)
from captionlab.objectives.adversarial.objective import (
    AdversarialObjective,
    AdversarialParts,
    step_diagnostics,
)
from captionlab.objectives.adversarial.samples import SampledBatch, detached_float, policy_loss
from captionlab.objectives.adversarial.straight_through import straight_through
from captionlab.objectives.base import Batch, joined
from captionlab.objectives.policy_gradient.rewards import score_samples
from captionlab.objectives.schedules import LinearSchedule


class GumbelGAN(AdversarialObjective):
    """The gradient of ``-lambda log sigmoid(D)`` (``-lambda D`` with another loss than bce) of words.

    Each sampled word is straight-through: hard forward, softmax((logits + g) / temperature)
    backward, g being Gumbel noise under which the drawn word is the largest (Jang et al. 2017;
    Shetty et al. 2017). A word moves by what D says of it, not by what it changes in later words.
    ``feature_matching`` adds so many times the squared distance of the mean features of real and
    drawn captions (Salimans et al. 2016). The metric's part, if lambda < 1, is a policy gradient.

    Raises:
        UserError: for values outside their range.
    """

    def __init__(
        self,
        *,
        temperature: LinearSchedule,
        feature_matching: float = 0.0,
        **parts: Unpack[AdversarialParts],
    ) -> None:
        super().__init__(**parts)
        if not feature_matching >= 0:
            raise UserError(f"objective.feature_matching={feature_matching} must not be negative")
        for key, value in (
            ("temperature", temperature.start),
            ("final_temperature", temperature.end),
        ):
            if not value > 0:
                raise UserError(f"objective.{key}={value} must be positive")
        self.feature_matching = feature_matching
        self.temperature_schedule = temperature
        self.temperature = temperature(0.0)

    def on_train_batch_start(self, epoch: float) -> None:
        """Set lambda and the temperature from the epochs done so far."""
        super().on_train_batch_start(epoch)
        self.temperature = self.temperature_schedule(epoch)

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics; the discriminator's gradient waits for its step.

        The diagnostics are those of ``step_diagnostics``, ``nll`` and ``distinct_2``, the share of
        different word pairs among those of the batch's samples.
        """
        samples = self.sample(captioner, batch)
        trainer = self.trainer_for(samples)
        weight = self.discriminator_weight(trainer)
        memory = detached_float(samples.memory)
        metrics = score_samples(self.reward, batch, samples.captions)
        real = self.real_captions(batch, trainer.network)
        learned = self.train_discriminator(trainer, memory, real, samples)
        generator_loss, scores = self._generator_loss(trainer, memory, real, samples)
        loss, entropy = policy_loss(samples, self.metric_advantage(metrics))
        diagnostics = step_diagnostics(
            metrics, learned, trainer=trainer, weight=weight, scores=scores, entropy=entropy
        )
        return self.finish(captioner, batch, samples, loss + weight * generator_loss, diagnostics)

    def _generator_loss(
        self,
        trainer: DiscriminatorTrainer,
        memory: Memory,
        real: MaskedTokens,
        samples: SampledBatch,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss that makes the samples real to the discriminator, and its scores (B,K)."""
        device = memory.pooled.device.type
        with trainer.frozen() as network, torch.autocast(device, enabled=False):
            soft = straight_through(samples.logits, samples.words, self.temperature)
            output = network(memory, network.embed_soft(soft, samples.mask), samples.mask)
            loss = F.softplus(-output.scores) if trainer.loss == "bce" else -output.scores
            if not self.feature_matching:
                return loss.mean(), output.scores
            with torch.no_grad():
                target = network(memory, network.embed(*real), real.mask).features
            # Salimans et al. 2016, section 3.1
            target = target[real.mask.any(-1)]
            features = output.features.flatten(0, 1)
            gap = joined(target.mean(0), len(target)) - joined(features.mean(0), len(features))
        return loss.mean() + self.feature_matching * gap.square().sum(), output.scores
