"""Adversarial training: a discriminator that learns beside the captioner rewards its captions.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated
from captionlab.decoding.sampling import Sampling
from captionlab.models.captioner import Captioner
from captionlab.objectives.adversarial.adversary import Adversary, Build, Loss
from captionlab.objectives.adversarial.gumbel import straight_through
from captionlab.objectives.base import Batch, Objective, joined, mean_nll, rank_weight
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText
from captionlab.objectives.policy_gradient.rollouts import values
from captionlab.objectives.policy_gradient.self_critical import (
    Fixed,
    leave_one_out,
    sampled_logits,
    score_samples,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.variety import Variety

Estimator = Literal["policy", "gumbel"]
Signal = Literal["log_odds", "probability"]


class Adversarial(Objective):
    """Captions that a discriminator takes for a person's, by policy gradient or Gumbel-softmax.

    ``num_samples`` captions an image are drawn at ``sample_temperature``: sharper than the model is,
    as captions are when it is used (Shetty et al. 2017 scale logits by 3), so what the discriminator
    finds wanting is their variety, not the slips of a wide distribution. It learns to tell them from
    the batch's own captions and from captions of other images (``Adversary``), for ``warm_up_steps``
    alone. The captioner then gets

    - estimator=policy: the reward ``lambda D + (1 - lambda) metric`` with the leave-one-out baseline
      (Dai et al. 2017; the mix: Chen et al. 2019). D is the discriminator's log-odds, which do not
      fade where it is sure, or its probability (``signal``). A caption that is judged in a set earns
      what it adds: the set's D less that of the set without it. With ``rollouts`` a word earns the
      mean D of so many completions of the caption up to it (``rollouts.values``);
    - estimator=gumbel: the gradient of ``-lambda log sigmoid(D)`` (of ``-lambda D`` with another loss
      than bce) through the sampled words, each straight-through: hard forward, softmax((logits + g)
      / temperature) backward, g being Gumbel noise under which the drawn word is the largest (Jang
      et al. 2017; Shetty et al. 2017). A word moves by what D says of it, not by what it changes in
      later words. ``feature_matching`` adds so many times the squared distance of the mean features
      of real and drawn captions (Salimans et al. 2016). The metric's part, if lambda < 1, is a
      policy gradient as above.

    ``likelihood`` adds cross-entropy on the batch's captions. ``adversarial`` is lambda, reached in
    a straight line over ``ramp_epochs``; the temperature falls to ``final_temperature`` over
    ``anneal_epochs``. Where the accuracy is at most ``least_accuracy``, what the discriminator says
    is noise, and it has no part in that step. Raises UserError for values outside their range.
    """

    name = "adversarial"
    requires_pretrained = True
    needs_training_text = True

    def __init__(
        self,
        *,
        discriminator: Build,
        reward: Reward,
        estimator: Estimator = "policy",
        loss: Loss = "bce",
        adversarial: float = 0.8,
        ramp_epochs: float = 0.0,
        likelihood: float = 0.5,
        feature_matching: float = 0.0,
        signal: Signal = "log_odds",
        num_samples: int = 5,
        sample_temperature: float = 0.5,
        rollouts: int = 0,
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
            ("signal", signal, get_args(Signal)),
        ):
            if value not in known:
                raise UserError(f"objective.{key}={value!r}: {did_you_mean(str(value), known)}")
        if not 0 <= adversarial <= 1:
            raise UserError(f"objective.adversarial={adversarial} is not between 0 and 1")
        for key, used, wanted in (
            ("rollouts", rollouts, "policy"),
            ("feature_matching", feature_matching, "gumbel"),
        ):
            if not used >= 0:
                raise UserError(f"objective.{key}={used} must not be negative")
            if used and estimator != wanted:
                raise UserError(
                    f"objective.{key}={used} belongs to objective.estimator={wanted}, not {estimator}"
                )
        if signal == "probability" and loss != "bce":
            raise UserError(
                f"objective.signal=probability: objective.loss={loss} gives scores, no "
                "probabilities; say objective.signal=log_odds"
            )
        if num_samples < 2:
            raise UserError(f"objective.num_samples={num_samples} must be at least 2")
        for key, least in (
            ("temperature", temperature),
            ("final_temperature", final_temperature),
            ("sample_temperature", sample_temperature),
            ("discriminator_lr", discriminator_lr),
        ):
            if not least > 0:
                raise UserError(f"objective.{key}={least} must be positive")
        for key, least in (("likelihood", likelihood), ("warm_up_steps", warm_up_steps)):
            if not least >= 0:
                raise UserError(f"objective.{key}={least} must not be negative")
        self.reward = reward
        self.estimator = estimator
        self.adversarial = adversarial
        self.ramp_epochs = ramp_epochs
        self.likelihood = likelihood
        self.feature_matching = feature_matching
        self.signal = signal
        self.rollouts = rollouts
        self.sampling = Sampling(
            num_samples=num_samples, temperature=sample_temperature, max_length=max_length
        )
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
        self.on_train_batch_start(0.0)

    def on_train_batch_start(self, epoch: float) -> None:
        """Set lambda and the temperature from the epochs done so far."""
        ramp = min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs else 1.0
        self.share = self.adversarial * ramp
        first, last, epochs = self.temperatures
        done = min(1.0, epoch / epochs) if epochs else 1.0
        self.temperature = first + (last - first) * done

    def on_fit_start(
        self, training_text: TrainingText | None, start_scores: Mapping[str, float]
    ) -> None:
        """Count the training references.

        Raises:
            UserError: if a score of the reward cannot be had, or sets of captions are judged and an
                image has too few.
        """
        assert training_text is not None  # needs_training_text
        self.reward.prepare(training_text)
        if not getattr(getattr(self._build, "func", self._build), "sets", False):
            return
        wanted = self.sampling.num_samples
        sets = (
            f"objective/discriminator=set compares sets of objective.num_samples={wanted} captions"
        )
        if (
            training_text.captions_per_image is not None
            and training_text.captions_per_image < wanted
        ):
            raise UserError(
                f"{sets}, and a batch has data.captions_per_image={training_text.captions_per_image} of an "
                f"image: say data.captions_per_image={wanted}"
            )
        for image, captions in training_text.references.items():
            if len(captions) < wanted:
                raise UserError(
                    f"{sets}, and image {image!r} has {len(captions)}: say "
                    f"objective.num_samples={max(2, len(captions))}, or objective/discriminator=cnn"
                )

    def run_artifacts(self) -> dict[str, np.ndarray]:
        """Return the document frequencies that the metric's part is weighed by."""
        return self.reward.document_frequencies()

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss; the discriminator's gradient waits for ``step``.

        Beside the rewards the diagnostics are its accuracies on real (``d_real``), sampled
        (``d_fake``) and mismatched captions, its loss and gradient's norm, ``lambda``, D of the
        samples (``judged``), the ``entropy`` of a word in nats at the temperature of the draws, and
        ``distinct_2``, the share of different word pairs among those of the batch's samples.
        """
        memory = captioner.encode(batch.images)
        special = special_ids(captioner)
        with without_dropout(captioner.decoder):
            seen = memory.each(torch.Tensor.detach)
            drawn = self.sampling(Fixed(captioner), seen, **special)
            logits, real = sampled_logits(captioner, memory, drawn)
            adversary = self._adversary(logits.shape[-1], memory)
            share = self._share(adversary)
            said = Said(drawn, real, logits / self.sampling.temperature)
            single = seen.each(lambda part: part.float() if part.is_floating_point() else part)
            worth: Tensor | None = None
            if self.estimator == "policy":
                judged, worth, usual = self._worth(captioner, adversary, seen, single, said)
        persons = self._persons(batch, adversary)
        scores = score_samples(self.reward, batch, drawn)
        metric = (1 - self.share) * scores["reward"]
        advantage = (metric - leave_one_out(metric)).unsqueeze(-1)
        loss = logits.new_zeros(())
        with torch.autocast(memory.pooled.device.type, enabled=False):
            learned = adversary.learn(single, persons, (drawn.tokens, real))
            if worth is None:
                fooling, judged = self._fooling(adversary, single, persons, said)
                loss = share * fooling
            else:
                advantage = advantage + share * (worth - usual)
            words = drawn.tokens[real].unsqueeze(-1)
            log_probs = said.logits.log_softmax(-1)
            sure = log_probs.detach()
            chosen = log_probs.gather(-1, words).squeeze(-1)
            policy = (advantage.expand(real.shape)[real] * chosen).mean()
            loss = loss - policy * rank_weight(len(chosen), policy)
        nll = mean_nll(captioner, memory, batch)
        diagnostics = {name: value.mean() for name, value in scores.items()}
        diagnostics |= learned | {
            "d_gradient_norm": loss.new_tensor(adversary.gradient_norm),
            "lambda": loss.new_tensor(share),
            "judged": judged.detach().mean(),
            "entropy": -(sure.exp() * sure).sum(-1).mean(),
            "distinct_2": self.variety(drawn.tokens, real),
            "nll": nll.detach(),
        }
        return loss + self.likelihood * nll, diagnostics

    def on_before_optimizer_step(self) -> None:
        """Let the discriminator take its step: called whenever the captioner takes one."""
        if self.adversary is not None:
            self.adversary.step()

    def _share(self, adversary: Adversary) -> float:
        """Return lambda in this step."""
        early = adversary.steps < self.warm_up_steps
        return 0.0 if early or adversary.accuracy <= self.least_accuracy else self.share

    @torch.no_grad()
    def _worth(
        self, captioner: Captioner, adversary: Adversary, memory: Memory, single: Memory, said: Said
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return D's scores of sampled captions (B,K), what each word earns and what is usual.

        The latter are (B,K,T) or (B,K,1). ``single`` is the memory in single precision, in which D
        judges.
        """
        device = memory.pooled.device.type
        with adversary.judging() as network:
            with torch.autocast(device, enabled=False):
                read = network.read(network.embed(said.drawn.tokens, said.real), said.real)
                judged = network.match(single, read, said.real).scores
                rest = network.without(single, read, said.real)

            def judge(captions: Generated) -> Tensor:
                """Return D's word on completed captions (B,KR)."""
                steps = torch.arange(captions.tokens.shape[-1], device=read.device)
                real = steps < captions.lengths.unsqueeze(-1)
                with torch.autocast(device, enabled=False):
                    new = network.read(network.embed(captions.tokens, real), real)
                    return self._signal(network.instead(single, read, new, self.rollouts))

            worth = self._signal(judged)
            # of a set every caption has the same score: what it adds is the set with it and without
            usual = leave_one_out(worth) if rest is None else self._signal(rest)
            if not self.rollouts:
                return judged, worth.unsqueeze(-1), usual.unsqueeze(-1)
            each = values(
                Fixed(captioner),
                memory,
                said.drawn,
                sampling=self.sampling,
                completions=self.rollouts,
                judge=judge,
                whole=worth,
                special=special_ids(captioner),
            )
        return judged, each, usual.unsqueeze(-1)

    def _signal(self, scores: Tensor) -> Tensor:
        return scores if self.signal == "log_odds" else scores.sigmoid()

    def _fooling(
        self, adversary: Adversary, memory: Memory, persons: tuple[Tensor, Tensor], said: Said
    ) -> tuple[Tensor, Tensor]:
        """Return the loss that makes D take the samples for a person's, and D's scores (B,K)."""
        with adversary.judging() as network:
            words = said.drawn.tokens[said.real]
            soft = straight_through(said.logits, words, self.temperature)
            judged = network(memory, network.embed_soft(soft, said.real), said.real)
            loss = F.softplus(-judged.scores) if adversary.loss == "bce" else -judged.scores
            if not self.feature_matching:
                return loss.mean(), judged.scores
            with torch.no_grad():
                aim = network(memory, network.embed(*persons), persons[1]).features
            # Salimans et al. 2016, section 3.1
            aim = aim[persons[1].any(-1)]
            found = judged.features.flatten(0, 1)
            gap = joined(aim.mean(0), len(aim)) - joined(found.mean(0), len(found))
        return loss.mean() + self.feature_matching * gap.square().sum(), judged.scores

    def _persons(self, batch: Batch, adversary: Adversary) -> tuple[Tensor, Tensor]:
        """Return the batch's captions without their beginning, and which tokens are real."""
        tokens = batch.tokens[..., 1:]
        real = torch.arange(tokens.shape[-1], device=tokens.device) < batch.lengths[..., None] - 1
        if adversary.network.sets:  # as many as it compares them with
            wanted = self.sampling.num_samples
            tokens, real = tokens[:, :wanted], real[:, :wanted]
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


class Said(NamedTuple):
    """Captions that were drawn, and the logits (M,V), divided by the temperature, of their words."""

    drawn: Generated
    real: Tensor  # (B,K,T)
    logits: Tensor
