"""What both adversarial objectives share: samples, a discriminator that learns beside, diagnostics.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding.sampling import Sampling
from captionlab.models.captioner import Captioner
from captionlab.objectives.adversarial.discriminator_trainer import (
    DiscriminatorFactory,
    DiscriminatorTrainer,
    MaskedTokens,
)
from captionlab.objectives.adversarial.discriminators import Discriminator
from captionlab.objectives.adversarial.samples import SampledBatch
from captionlab.objectives.base import Batch, Objective, mean_nll
from captionlab.objectives.policy_gradient.baselines import leave_one_out
from captionlab.objectives.policy_gradient.diversity import DiversityMonitor
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    sampled_logits,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from captionlab.objectives.schedules import LinearSchedule


class AdversarialParts(TypedDict):
    """What ``AdversarialObjective`` is built of."""

    discriminator: DiscriminatorFactory
    trainer: Callable[[Discriminator], DiscriminatorTrainer]
    reward: Reward
    sampling: Sampling
    weight: LinearSchedule
    likelihood: float
    warm_up_steps: int
    least_accuracy: float


class AdversarialObjective(Objective):
    """The base of objectives in which a discriminator learns beside the captioner and teaches it.

    Captions are drawn by ``sampling``, sharper than the model is, as captions are when it is used
    (Shetty et al. 2017 scale logits by 3), so what the discriminator finds wanting is their variety,
    not the slips of a wide distribution. It learns to tell them from the batch's own captions and
    from captions of other images (``DiscriminatorTrainer``), for ``warm_up_steps`` alone. What the
    captioner then learns of it weighs lambda, the value of ``weight``; the rest is the metric
    ``reward``. Where the discriminator's accuracy is at most ``least_accuracy``, it says noise, and
    it has no part in that step. ``likelihood`` adds cross-entropy on the batch's captions.

    Raises:
        UserError: for values outside their range.
    """

    name = "adversarial"
    requires_pretrained = True
    reads_prompts = False  # its discriminator compares captions of an image
    needs_training_text = True

    def __init__(
        self,
        *,
        discriminator: DiscriminatorFactory,
        trainer: Callable[[Discriminator], DiscriminatorTrainer],
        reward: Reward,
        sampling: Sampling,
        weight: LinearSchedule,
        likelihood: float,
        warm_up_steps: int,
        least_accuracy: float,
    ) -> None:
        super().__init__()
        if not 0 <= weight.end <= 1:
            raise UserError(f"objective.adversarial={weight.end} is not between 0 and 1")
        if sampling.num_samples < 2:
            raise UserError(f"objective.num_samples={sampling.num_samples} must be at least 2")
        for key, value in (("likelihood", likelihood), ("warm_up_steps", warm_up_steps)):
            if not value >= 0:
                raise UserError(f"objective.{key}={value} must not be negative")
        self.reward = reward
        self.sampling = sampling
        self.weight_schedule = weight
        self.weight = weight(0.0)
        self.likelihood = likelihood
        self.warm_up_steps = warm_up_steps
        self.least_accuracy = least_accuracy
        self.diversity = DiversityMonitor()
        self.trainer: DiscriminatorTrainer | None = None  # from the first batch on
        self._new_discriminator = discriminator
        self._new_trainer = trainer
        self._trainer_state: dict[str, object] | None = None  # of a checkpoint, until it is built

    def on_train_batch_start(self, epoch: float) -> None:
        """Set lambda from the epochs done so far."""
        self.weight = self.weight_schedule(epoch)

    def on_fit_start(
        self, training_text: TrainingText | None, start_scores: Mapping[str, float]
    ) -> None:
        """Count the training references.

        Raises:
            UserError: if a score of the reward cannot be had, or sets of captions are scored and an
                image has too few.
        """
        assert training_text is not None  # needs_training_text
        self.reward.prepare(training_text)
        if _scores_sets(self._new_discriminator):
            _require_sets(training_text, self.sampling.num_samples)

    def run_artifacts(self) -> dict[str, np.ndarray]:
        """Return the document frequencies that the metric's part is weighed by."""
        return self.reward.document_frequencies()

    def on_before_optimizer_step(self) -> None:
        """Let the discriminator take its step: it does whenever the captioner takes one."""
        if self.trainer is not None:
            self.trainer.step()

    def sample(self, captioner: Captioner, batch: Batch) -> SampledBatch:
        """Return captions drawn of a batch's images."""
        memory = captioner.encode(batch.images)
        with without_dropout(captioner.decoder):
            captions = self.sampling(
                DeterministicStepModel(captioner),
                memory.each(torch.Tensor.detach),
                **special_ids(captioner),
            )
            logits, mask = sampled_logits(captioner, memory, captions)
        return SampledBatch(memory, captions, mask, logits / self.sampling.temperature)

    def trainer_for(self, samples: SampledBatch) -> DiscriminatorTrainer:
        """Return the discriminator in training, built when the first batch tells its sizes."""
        if self.trainer is None:
            pooled = samples.memory.pooled
            # a resumed run builds it too: that must not move the draws of all that follows
            with torch.random.fork_rng(devices=[]):
                network = self._new_discriminator(
                    vocabulary_size=samples.logits.shape[-1], memory_dim=pooled.shape[-1]
                )
            self.trainer = self._new_trainer(network)
            if self._trainer_state is not None:
                self.trainer.load_state_dict(self._trainer_state)
            self.trainer.to(pooled.device)
            self.trainer.broadcast_weights()
        return self.trainer

    def discriminator_weight(self, trainer: DiscriminatorTrainer) -> float:
        """Return lambda in this step."""
        warming_up = trainer.steps < self.warm_up_steps
        return 0.0 if warming_up or trainer.accuracy <= self.least_accuracy else self.weight

    def real_captions(self, batch: Batch, network: Discriminator) -> MaskedTokens:
        """Return the batch's own captions, as many as the discriminator compares."""
        ids = batch.tokens[..., 1:]
        mask = torch.arange(ids.shape[-1], device=ids.device) < batch.lengths[..., None] - 1
        count = self.sampling.num_samples if network.scores_sets else ids.shape[1]
        return MaskedTokens(ids[:, :count], mask[:, :count])

    def metric_advantage(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Return the metric's part of the policy gradient's advantage (B,K,1)."""
        metric = (1 - self.weight) * scores["reward"]
        return (metric - leave_one_out(metric)).unsqueeze(-1)

    def train_discriminator(
        self,
        trainer: DiscriminatorTrainer,
        memory: Memory,
        real: MaskedTokens,
        samples: SampledBatch,
    ) -> dict[str, Tensor]:
        """Let the discriminator learn from a batch; return its loss and accuracies.

        ``memory``: as ``detached_float`` returns it.
        """
        with torch.autocast(memory.pooled.device.type, enabled=False):
            return trainer.accumulate(memory, real, samples.tokens)

    def finish(
        self,
        captioner: Captioner,
        batch: Batch,
        samples: SampledBatch,
        loss: Tensor,
        diagnostics: dict[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss with cross-entropy added, and the diagnostics with those of the samples."""
        distinct = self.diversity(*samples.tokens)
        nll = mean_nll(captioner, samples.memory, batch)
        own = {"distinct_2": distinct, "nll": nll.detach()}
        return loss + self.likelihood * nll, diagnostics | own

    def get_extra_state(self) -> dict[str, object]:
        """Return the discriminator, its optimizer and the diversity so far, for a checkpoint."""
        state = self._trainer_state if self.trainer is None else self.trainer.state_dict()
        # the keys of version 0.1: its runs go on
        return {"adversary": state, "variety": self.diversity.history}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; the discriminator is built with the first batch."""
        self.diversity.history = list(state["variety"])
        self._trainer_state = state["adversary"]
        if self.trainer is not None and self._trainer_state is not None:
            self.trainer.load_state_dict(self._trainer_state)


def step_diagnostics(
    metrics: Mapping[str, Tensor],
    learned: Mapping[str, Tensor],
    *,
    trainer: DiscriminatorTrainer,
    weight: float,
    scores: Tensor,
    entropy: Tensor,
) -> dict[str, Tensor]:
    """Return what is logged of both sides in a step.

    Mean rewards; the discriminator's accuracies on real (``d_real``), sampled (``d_fake``) and
    mismatched captions, its loss and gradient's norm; ``lambda``; its scores of the samples
    (``judged``); the ``entropy`` of a word in nats at the temperature of the draws.
    """
    return {
        **{name: value.mean() for name, value in metrics.items()},
        **learned,
        "d_gradient_norm": scores.new_tensor(trainer.gradient_norm),
        "lambda": scores.new_tensor(weight),
        "judged": scores.detach().mean(),
        "entropy": entropy,
    }


def _scores_sets(discriminator: DiscriminatorFactory) -> bool:
    """Return whether what is built scores the captions of an image together."""
    kind = getattr(discriminator, "func", discriminator)  # of a partial
    return bool(getattr(kind, "scores_sets", False))


def _require_sets(text: TrainingText, num_samples: int) -> None:
    """Raise UserError where an image has fewer captions than a set of samples."""
    sets = (
        f"objective/discriminator=set compares sets of objective.num_samples={num_samples} captions"
    )
    if text.captions_per_image is not None and text.captions_per_image < num_samples:
        raise UserError(
            f"{sets}, and a batch has data.captions_per_image={text.captions_per_image} of an "
            f"image: say data.captions_per_image={num_samples}"
        )
    for image, captions in text.references.items():
        if len(captions) < num_samples:
            raise UserError(
                f"{sets}, and image {image!r} has {len(captions)}: say "
                f"objective.num_samples={max(2, len(captions))}, or objective/discriminator=cnn"
            )
