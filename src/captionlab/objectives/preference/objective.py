"""Direct preference optimization: of captions drawn from the model, the better becomes likelier.

Legend: B images, K captions an image, T tokens.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated
from captionlab.decoding.sampling import Sampling
from captionlab.models.captioner import Captioner
from captionlab.objectives.base import Batch, mean_nll, rank_weight
from captionlab.objectives.frozen import FrozenCaptioner, encoder_learns, frozen_copy
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    sequence_log_probs,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.rewarded import Rewarded
from captionlab.objectives.policy_gradient.rewards import Reward, score_samples
from captionlab.objectives.preference.pairs import (
    Preferences,
    all_pairs,
    best_against_worst,
    preference_loss,
)
from captionlab.objectives.prompted_images import prompted_images

Pairs = Literal["best_worst", "all"]


class Preference(Rewarded):
    """DPO (Rafailov et al. 2023, equation 7) on captions that the model draws and a reward ranks.

    For each image ``num_samples`` captions are drawn from the captioner as it is now (online, as
    Guo et al. 2024 draw them), without dropout. ``pairs`` are of the best and the worst one, or of
    all whose rewards differ by more than ``reward_margin``. The loss of a pair is
    ``-log sigmoid(beta ((log pi(w) - log ref(w)) - (log pi(l) - log ref(l))))``; the reference is the
    captioner as it was when this objective began, kept beside it once (its encoder only where that
    learns) and in the checkpoints that resume. ``label_smoothing`` is the share of preferences taken
    to be wrong. ``length_normalized`` divides the log-probabilities by the captions' tokens (as
    SimPO does: Meng et al. 2024, section 2.2; here beside a reference): it wants a ``beta`` some ten
    times as large. ``likelihood`` adds that much cross-entropy of the batch's own captions;
    ``check_steps`` as in ``SelfCritical``.

    Raises:
        UserError: for a value outside its range, and as ``Reward`` does.
    """

    name = "preference"
    reads_images = True

    def __init__(
        self,
        *,
        reward: Reward,
        pairs: Pairs = "best_worst",
        num_samples: int = 5,
        temperature: float = 1.0,
        max_length: int = 20,
        beta: float = 0.1,
        reward_margin: float = 0.0,
        label_smoothing: float = 0.0,
        length_normalized: bool = False,
        likelihood: float = 0.0,
        check_steps: int = 20,
    ) -> None:
        super().__init__(reward=reward, check_steps=check_steps)
        if pairs not in get_args(Pairs):
            hint = did_you_mean(str(pairs), get_args(Pairs))
            raise UserError(f"objective.pairs={pairs!r}: there are no such pairs; {hint}")
        if num_samples < 2:
            raise UserError(f"objective.num_samples={num_samples} must be at least 2: a pair")
        if not beta > 0:
            raise UserError(f"objective.beta={beta} must be above 0; 0.1 is usual")
        if not 0 <= label_smoothing < 0.5:
            raise UserError(
                f"objective.label_smoothing={label_smoothing} is not in [0, 0.5): at a half, "
                "neither caption of a pair is preferred"
            )
        for key, value in {"reward_margin": reward_margin, "likelihood": likelihood}.items():
            if not value >= 0:
                raise UserError(f"objective.{key}={value} must not be negative")
        self.pairs = pairs
        self.sampling = Sampling(
            num_samples=num_samples, temperature=temperature, max_length=max_length
        )
        self.beta = beta
        self.reward_margin = reward_margin
        self.label_smoothing = label_smoothing
        self.length_normalized = length_normalized
        self.likelihood = likelihood
        self.reference: FrozenCaptioner | None = None  # from the first batch on
        self._reference_state: dict[str, Tensor] | None = None  # of a checkpoint, until it is built

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics, of which those below are in nats.

        Mean rewards by name; ``pairs``, how many an image; ``reward_accuracy``, the share of pairs
        whose order the model has learned (its implicit reward beta (log pi - log ref)), and their
        mean ``margin``; the implicit rewards ``chosen`` and ``rejected``; ``kl``, an estimate of
        KL(pi || ref) a caption: the mean log-ratio of the captions compared.
        """
        reference = self._reference_of(captioner)
        images = batch.images
        # the encoder and its batch norms too: at the start the model is its reference
        with without_dropout(captioner):
            if not isinstance(images, Memory) and not encoder_learns(captioner):
                images = captioner.encoder(images)  # one look for both
            memory = captioner.encode(images)
            asked = prompted_images(memory, batch)
            detached = asked.memory.each(torch.Tensor.detach)
            model = DeterministicStepModel(captioner)
            samples = asked.sample(self.sampling, model, detached, **special_ids(captioner))
            scores = score_samples(self.reward, asked, samples)
            compared, better = self._preferences(samples, scores["reward"])
            log_probs, lengths = sequence_log_probs(
                captioner, asked.memory, compared, prompts=asked.prompts
            )
        self.check(scores)
        with torch.no_grad():
            known = prompted_images(reference.encode(images), batch).memory
            before, _ = sequence_log_probs(
                reference.captioner, known, compared, prompts=asked.prompts
            )
        log_ratios = log_probs - before
        scaled = log_ratios / lengths if self.length_normalized else log_ratios
        loss, margins = preference_loss(
            scaled, better, beta=self.beta, label_smoothing=self.label_smoothing
        )
        loss = loss * rank_weight(len(margins), loss)
        diagnostics = {name: value.mean() for name, value in scores.items()}
        diagnostics |= {
            **_learned(self.beta * scaled.detach(), better, margins),
            "kl": log_ratios.detach().mean(),
            "length": lengths.float().mean(),
        }
        if self.likelihood:
            nll = mean_nll(captioner, memory, batch)
            diagnostics["nll"] = nll.detach()
            loss = loss + self.likelihood * nll
        return loss, diagnostics

    def get_extra_state(self) -> dict[str, object]:
        """Return the reference's weights, for a checkpoint that resumes."""
        if self.reference is None:
            return {"reference": self._reference_state}
        return {"reference": dict(self.reference.captioner.state_dict())}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with the reference of a checkpoint."""
        self.reference, self._reference_state = None, state["reference"]

    def _reference_of(self, captioner: Captioner) -> FrozenCaptioner:
        """Return the captioner as it was in its first step with this objective."""
        if self.reference is None:
            self.reference = frozen_copy(captioner)
            if self._reference_state is not None:
                self.reference.captioner.load_state_dict(self._reference_state)
                self._reference_state = None
        return self.reference

    def _preferences(self, samples: Generated, reward: Tensor) -> Preferences:
        choose = all_pairs if self.pairs == "all" else best_against_worst
        return choose(samples, reward, self.reward_margin)


def _learned(rewards: Tensor, better: Tensor, margins: Tensor) -> dict[str, Tensor]:
    """Return what the captions' implicit rewards (B,K) say of the pairs; 0 without one."""
    pairs = max(1, len(margins))
    chosen = rewards.unsqueeze(2).expand_as(better)[better]
    rejected = rewards.unsqueeze(1).expand_as(better)[better]
    return {
        "pairs": better.sum() / len(better),
        "reward_accuracy": (margins > 0).sum() / pairs,
        "margin": margins.sum() / pairs,
        "chosen": chosen.sum() / pairs,
        "rejected": rejected.sum() / pairs,
    }
