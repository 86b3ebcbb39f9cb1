"""Maximum likelihood where the decoder now and then reads its own last word.

B images, K captions an image, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import shift
from captionlab.objectives.base import Batch, Objective, rank_weight
from captionlab.objectives.cross_entropy_loss import cross_entropy
from captionlab.objectives.likelihood.cross_entropy import with_penalty

Decay = Literal["linear", "exponential", "inverse_sigmoid"]


class ScheduledSampling(Objective):
    """Cross-entropy whose inputs are drawn from the model itself with a growing probability.

    Bengio et al. 2015. With i epochs since ``start_epoch`` that probability is, by ``decay``,
    linear: ``increase`` more every ``every`` epochs (ImageCaptioning.pytorch: 0.05 every 5);
    exponential: 1 - k^i with k below 1; inverse_sigmoid: 1 - k / (k + exp(i / k)) with k from 1;
    never more than ``max_probability``, and 0 before ``start_epoch``. Only the loss of the words
    is differentiated, not the draw. One step a token, so any decoder will do.

    Raises:
        UserError: for an unknown decay or a value outside its range.
    """

    name = "scheduled_sampling"

    def __init__(
        self,
        *,
        decay: Decay = "linear",
        start_epoch: float = 0.0,
        increase: float = 0.05,
        every: int = 5,
        k: float = 0.95,
        max_probability: float = 0.25,
    ) -> None:
        super().__init__()
        if decay not in get_args(Decay):
            hint = did_you_mean(str(decay), get_args(Decay))
            raise UserError(f"objective.decay={decay!r}: there is no such decay; {hint}")
        if not (every >= 1 and increase >= 0):
            raise UserError(
                f"objective.every={every} must be at least 1 and objective.increase={increase} not "
                "negative."
            )
        if not 0 <= max_probability <= 1:
            raise UserError(f"objective.max_probability={max_probability} is not between 0 and 1.")
        if (decay == "exponential" and not 0 < k < 1) or (
            decay == "inverse_sigmoid" and not k >= 1
        ):
            right = "between 0 and 1" if decay == "exponential" else "at least 1"
            raise UserError(f"objective.k={k} must be {right} for objective.decay={decay}.")
        self.decay = decay
        self.start_epoch = start_epoch
        self.increase = increase
        self.every = every
        self.k = k
        self.max_probability = max_probability
        self.on_train_batch_start(0.0)

    def on_train_batch_start(self, epoch: float) -> None:
        """Set the probability of reading a drawn word from the epochs done so far."""
        since = epoch - self.start_epoch
        if since < 0:
            self.probability = 0.0
            return
        if self.decay == "linear":
            probability = self.increase * math.floor(since / self.every)
        elif self.decay == "exponential":
            probability = 1 - self.k**since
        else:
            # k / (k + exp(i / k)), without an exponential that overflows
            probability = 1 / (1 + self.k * math.exp(-since / self.k))
        self.probability = min(self.max_probability, probability)

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in nats a token, with ``nll`` and ``probability`` beside it."""
        inputs, targets, real = shift(batch, captioner.decoder.pad_id)
        state = captioner.init_state(captioner.encode(batch.images), inputs.shape[1])
        logits, weights = [], []
        token = inputs[..., 0]
        for step in range(inputs.shape[-1]):
            scores, state = captioner.step(token, state)
            now = real[..., step]
            logits.append(scores[now])
            if state.weights is not None:
                weights.append(state.weights)
            if step + 1 < inputs.shape[-1]:
                gold = inputs[..., step + 1]
                token = self._mixed(gold, scores.detach(), now, captioner.decoder.pad_id)
        # the answers stand step by step, so the targets are read in that order
        step_targets = targets.permute(2, 0, 1)[real.permute(2, 0, 1)]
        nll, _ = cross_entropy(torch.cat(logits), step_targets)
        nll = nll * rank_weight(len(step_targets), nll)
        diagnostics = {"nll": nll.detach(), "probability": nll.new_tensor(self.probability)}
        attention = torch.stack(weights, 2) if weights else None
        return with_penalty(captioner, attention, real, nll, diagnostics)

    def _mixed(self, gold: Tensor, scores: Tensor, real: Tensor, pad_id: int) -> Tensor:
        """Return the next inputs (B,K): ``gold``, or words drawn from ``scores`` (B,K,V) where ``real``."""
        if not self.probability:
            return gold
        sampled = draw(scores, pad_id)
        chosen = torch.rand(gold.shape, device=gold.device) < self.probability
        return torch.where(chosen & real & (gold != pad_id), sampled, gold)


def draw(scores: Tensor, pad_id: int) -> Tensor:
    """Return ids (B,K) drawn from the distribution of logits (B,K,V), never the padding."""
    # the largest of logit - log(exponential noise) is a draw (Gumbel); torch.multinomial has no
    # deterministic form on a GPU
    scores = scores.float()
    noisy = scores - torch.empty_like(scores).exponential_().clamp_min(1e-30).log()
    noisy[..., pad_id] = -math.inf
    return noisy.argmax(-1)
