"""Adversarial training: a discriminator that learns beside the captioner rewards its captions.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.decoding.generated import Generated
from captionlab.decoding.sampling import Sampling
from captionlab.errors import UserError, did_you_mean
from captionlab.memory import Memory
from captionlab.models.captioner import Captioner
from captionlab.objectives.adversary import Adversary, Build, Loss
from captionlab.objectives.base import Batch, mean_nll
from captionlab.objectives.rewards import Reward, TrainingText
from captionlab.objectives.self_critical import (
    Fixed,
    leave_one_out,
    sampled_logits,
    score_samples,
    special_ids,
    without_dropout,
)

Estimator = Literal["policy", "gumbel"]
COLLAPSED = 0.3  # of the first steps' share of different word pairs

log = logging.getLogger(__name__)


class Adversarial(nn.Module):
    """Captions that a discriminator takes for a person's, by policy gradient or Gumbel-softmax.

    ``num_samples`` captions an image are drawn. The discriminator learns to tell them from the
    batch's own captions and from captions of other images (``Adversary``); for ``warm_up_steps`` it
    learns alone. The captioner then gets

    - estimator=policy: the reward ``lambda sigmoid(D) + (1 - lambda) metric`` with the leave-one-out
      baseline (Dai et al. 2017; the mix: Chen et al. 2019);
    - estimator=gumbel: the gradient of ``-lambda log sigmoid(D)`` through the sampled words, each
      straight-through: hard forward, softmax((logits + g) / temperature) backward, g being Gumbel
      noise under which the drawn word is the largest (Jang et al. 2017; Shetty et al. 2017). A word
      moves by what D says of it, not by what it changes in later words. The metric's part, if
      lambda < 1, is a policy gradient as above.

    ``likelihood`` adds cross-entropy on the batch's captions. ``adversarial`` is lambda, reached in
    a straight line over ``ramp_epochs``; the temperature falls to ``final_temperature`` over
    ``anneal_epochs``. Where the accuracy is at most ``least_accuracy``, what the discriminator says
    is noise, and it has no part in that step. Raises UserError for values outside their range.
    """

    name = "adversarial"

    def __init__(
        self,
        *,
        discriminator: Build,
        reward: Reward,
        estimator: Estimator = "policy",
        loss: Loss = "bce",
        adversarial: float = 0.5,
        ramp_epochs: float = 0.0,
        likelihood: float = 0.5,
        num_samples: int = 5,
        max_length: int = 20,
        warm_up_steps: int = 100,
        discriminator_lr: float = 1e-3,
        discriminator_limit: float = 0.95,
        least_accuracy: float = 0.52,
        temperature: float = 1.0,
        final_temperature: float = 0.5,
        anneal_epochs: float = 2.0,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("estimator", estimator, get_args(Estimator)),
            ("loss", loss, get_args(Loss)),
        ):
            if value not in known:
                raise UserError(f"objective.{key}={value!r}: {did_you_mean(str(value), known)}")
        if not 0 <= adversarial <= 1:
            raise UserError(f"objective.adversarial={adversarial} is not between 0 and 1")
        if num_samples < 2:
            raise UserError(f"objective.num_samples={num_samples} must be at least 2")
        if not (temperature > 0 and final_temperature > 0):
            raise UserError(
                f"objective.temperature={temperature} and objective.final_temperature="
                f"{final_temperature} must be positive"
            )
        if not likelihood >= 0:
            raise UserError(f"objective.likelihood={likelihood} must not be negative")
        self.reward = reward
        self.estimator = estimator
        self.adversarial = adversarial
        self.ramp_epochs = ramp_epochs
        self.likelihood = likelihood
        self.sampling = Sampling(num_samples=num_samples, max_length=max_length)
        self.warm_up_steps = warm_up_steps
        self.least_accuracy = least_accuracy
        self.temperatures = (temperature, final_temperature, anneal_epochs)
        self._build = discriminator
        self._settings: dict[str, Any] = {
            "learning_rate": discriminator_lr,
            "loss": loss,
            "limit": discriminator_limit,
        }
        self.adversary: Adversary | None = None
        self._waiting: dict[str, Any] | None = None
        self.variety = Variety()
        self.at(0.0)

    def at(self, epoch: float) -> None:
        """Set lambda and the temperature from the epochs done so far."""
        ramp = min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs else 1.0
        self.share = self.adversarial * ramp
        first, last, epochs = self.temperatures
        done = min(1.0, epoch / epochs) if epochs else 1.0
        self.temperature = first + (last - first) * done

    def prepare(self, text: TrainingText, scores: Mapping[str, float]) -> None:
        """Count the training references."""
        self.reward.prepare(text)

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss; the discriminator takes its own step on the way.

        Beside the rewards the diagnostics are its accuracies on real (``d_real``), sampled
        (``d_fake``) and mismatched captions, its loss, ``lambda``, and ``distinct_2``, the share of
        different word pairs among those of the batch's samples.
        """
        memory = captioner.encode(batch.images)
        ids = special_ids(captioner)
        with without_dropout(captioner.decoder):
            seen = memory.each(torch.Tensor.detach)
            drawn = self.sampling(Fixed(captioner), seen, **ids)
            logits, real = sampled_logits(captioner, memory, drawn)
        adversary = self._adversary(logits.shape[-1], memory)
        scores = score_samples(self.reward, batch, drawn)
        with torch.autocast(memory.pooled.device.type, enabled=False):
            seen = seen.each(lambda part: part.float() if part.is_floating_point() else part)
            persons = self._persons(batch, adversary)
            learned = adversary.learn(seen, persons, (drawn.tokens, real))
            loss, share, judged = self._gain(adversary, seen, drawn, real, logits.float(), scores)
        nll = mean_nll(captioner, memory, batch)
        diagnostics = {name: value.mean() for name, value in scores.items()}
        diagnostics |= learned | {
            "lambda": loss.new_tensor(share),
            "judged": judged.detach().mean(),
            "distinct_2": self.variety(drawn.tokens, real),
            "nll": nll.detach(),
        }
        return loss + self.likelihood * nll, diagnostics

    def _gain(
        self,
        adversary: Adversary,
        memory: Memory,
        drawn: Generated,
        real: Tensor,
        logits: Tensor,
        scores: Mapping[str, Tensor],
    ) -> tuple[Tensor, float, Tensor]:
        """Return the captioner's loss, lambda in this step, and what D says of captions (B,K)."""
        early = adversary.steps <= self.warm_up_steps
        lost = adversary.accuracy <= self.least_accuracy
        share = 0.0 if early or lost else self.share
        words = drawn.tokens[real]
        log_probs = logits.log_softmax(-1).gather(-1, words.unsqueeze(-1)).squeeze(-1)
        if self.estimator == "gumbel":
            soft = straight_through(logits, words, self.temperature)
            embedded = adversary.network.embed_soft(soft, real)
        else:
            embedded = adversary.network.embed(drawn.tokens, real).detach()
        judged = adversary.judge(memory, embedded, real)
        reward = (1 - self.share) * scores["reward"]
        loss = log_probs.new_zeros(())
        if self.estimator == "gumbel":
            loss = share * F.softplus(-judged).mean()
        else:
            reward = reward + share * judged.detach().sigmoid()
        advantage = reward - leave_one_out(reward)
        each = advantage.unsqueeze(-1).expand(real.shape)[real]
        return loss - (each * log_probs).mean(), share, judged.sigmoid()

    def _persons(self, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """Return the batch's captions without their beginning, and which tokens are real."""
        tokens = batch.tokens[..., 1:]
        real = torch.arange(tokens.shape[-1], device=tokens.device) < batch.lengths[..., None] - 1
        wanted = self.sampling.num_samples
        if adversary.network.sets and tokens.shape[1] != wanted:
            raise UserError(
                f"objective/discriminator=set compares sets of one size: images have up to "
                f"{tokens.shape[1]} captions and objective.num_samples={wanted}; say "
                f"objective.num_samples={max(2, tokens.shape[1])}"
            )
        return tokens, real

    def _adversary(self, vocabulary_size: int, memory: Memory) -> Adversary:
        """Return the discriminator, built when the first batch tells its sizes."""
        if self.adversary is None:
            # a resumed run builds it too: that must not move the draws of all that follows
            with torch.random.fork_rng(devices=[]):
                network = self._build(
                    vocabulary_size=vocabulary_size, memory_dim=memory.pooled.shape[-1]
                )
            self.adversary = Adversary(network, **self._settings)
            if self._waiting is not None:
                self.adversary.load(self._waiting)
            self.adversary.to(memory.pooled.device)
            self.adversary.agree()
        return self.adversary

    def get_extra_state(self) -> dict[str, Any]:
        """Return the discriminator, its optimizer and the variety so far, for a checkpoint."""
        state = self._waiting if self.adversary is None else self.adversary.state()
        return {"adversary": state, "variety": self.variety.seen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; the discriminator is built with the first batch."""
        self.variety.seen = list(state["variety"])
        self._waiting = state["adversary"]
        if self.adversary is not None and self._waiting is not None:
            self.adversary.load(self._waiting)


class Variety:
    """How different the samples are; says so, once, where they collapse."""

    def __init__(self, window: int = 50) -> None:
        self.window = window
        self.seen: list[float] = []  # the first steps' values, then a moving average

    def __call__(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Return the share of different pairs among all word pairs of captions (B,K,T)."""
        pairs = torch.stack([tokens[..., :-1], tokens[..., 1:]], -1)[real[..., 1:]]
        share = len(pairs.unique(dim=0)) / max(1, len(pairs))
        if len(self.seen) < self.window:
            self.seen.append(share)
        else:
            if len(self.seen) == self.window:
                self.seen.append(share)
            healthy = self.seen[-1] >= COLLAPSED * self._first
            self.seen[-1] = 0.95 * self.seen[-1] + 0.05 * share
            if healthy and self.seen[-1] < COLLAPSED * self._first:
                log.warning(
                    "the captions collapse: %.1f %% of their word pairs differ, %.1f %% did at "
                    "first; lower objective.adversarial or raise objective.likelihood",
                    100 * self.seen[-1],
                    100 * self._first,
                )
        return torch.tensor(share)

    @property
    def _first(self) -> float:
        return sum(self.seen[: self.window]) / self.window


def straight_through(logits: Tensor, words: Tensor, temperature: float) -> Tensor:
    """Return one-hot words (M,V) whose gradient is that of softmax((logits + g) / temperature).

    ``logits`` (M,V), ``words`` (M,) drawn from them. g is Gumbel noise given that the drawn word is
    the largest: its maximum is Gumbel with location logsumexp, the others are cut off below it
    (Maddison et al. 2014, "A* Sampling", section 3).
    """
    tiny = torch.finfo(logits.dtype).tiny
    noise = -torch.empty_like(logits).exponential_().clamp_min(tiny).log()
    chosen = words.unsqueeze(-1)
    with torch.no_grad():
        total = logits.logsumexp(-1, keepdim=True)
        largest = total + noise.gather(-1, chosen)
        # -log(exp(-largest) + exp(-(logits + noise))), below the largest
        below = -torch.logaddexp(-largest, -(logits + noise))
        perturbed = below.scatter(-1, chosen, largest)
        shift = perturbed - logits
    soft = ((logits + shift) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter(-1, chosen, 1.0)
    return hard + soft - soft.detach()
