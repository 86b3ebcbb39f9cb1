"""Self-critical sequence training: captions are sampled, and what scores well becomes likelier.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated
from captionlab.decoding.greedy import Greedy
from captionlab.decoding.sampling import Sampling
from captionlab.models.captioner import Captioner
from captionlab.models.state import State
from captionlab.objectives.base import Batch, Objective, averaged, mean_nll, rank_weight
from captionlab.objectives.policy_gradient.rewards import Reward, TrainingText, listed

Baseline = Literal["greedy", "leave_one_out", "moving_average"]
# sampled captions score lower than searched ones, and training images higher than unseen ones
LEAST, MOST = 0.2, 5.0
NEVER = -1e9  # the logit of what cannot be drawn


class SelfCritical(Objective):
    """Policy gradient on a sequence's reward (Rennie et al. 2017, equations 8 to 10).

    For each image ``num_samples`` captions are drawn, all from one encoded memory, and
    ``-(r - b) log p(caption)`` is minimized, summed over captions and divided by their tokens. The
    ``baseline`` b is the reward of the greedy caption; or, without another decode, the mean reward
    of the image's other samples (leave_one_out, Luo 2020, equation 4); or a moving average of
    rewards, ``b = decay b + (1 - decay) mean``. Samples are drawn, and their log-probabilities
    computed anew, without dropout: both are of one and the same policy. Only tokens that were said
    reach the vocabulary, so memory is that of cross-entropy on as many captions.

    ``likelihood`` adds that much cross-entropy of the batch's own captions. Over the first
    ``check_steps`` steps the mean reward is compared with the starting model's validation score:
    a model with another vocabulary, or other frequencies, is found out before it is spoiled.

    Raises:
        UserError: for a value outside its range, and as ``Reward`` does.
    """

    name = "self_critical"
    requires_pretrained = True
    needs_training_text = True
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
        super().__init__()
        if baseline not in get_args(Baseline):
            hint = did_you_mean(str(baseline), get_args(Baseline))
            raise UserError(f"objective.baseline={baseline!r}: there is no such baseline; {hint}")
        least = 2 if baseline == "leave_one_out" else 1
        if num_samples < least:
            raise UserError(
                f"objective.num_samples={num_samples} must be at least {least} for "
                f"objective.baseline={baseline}"
            )
        if not 0 <= decay < 1:
            raise UserError(f"objective.decay={decay} is not in [0, 1)")
        if not likelihood >= 0:
            raise UserError(f"objective.likelihood={likelihood} must not be negative")
        if check_steps < 0:
            raise UserError(f"objective.check_steps={check_steps} must be 0 (no check) or more")
        self.reward = reward
        self.baseline = baseline
        self.likelihood = likelihood
        self.sampling = Sampling(
            num_samples=num_samples, temperature=temperature, max_length=max_length
        )
        self.greedy = Greedy(max_length=max_length)
        self.decay = decay
        self.check = StartCheck(check_steps)
        self.register_buffer("average", torch.tensor(math.nan))

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

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and diagnostics: rewards by name, ``baseline``, ``length``, ``ended``.

        ``ended`` is the share of samples that ended by themselves. Raises UserError where the
        rewards do not fit the starting model's validation score.
        """
        memory = captioner.encode(batch.images)
        special = special_ids(captioner)
        with without_dropout(captioner.decoder):
            fixed = Fixed(captioner)
            seen = memory.each(torch.Tensor.detach)
            sampled = self.sampling(fixed, seen, **special)
            scores = score_samples(self.reward, batch, sampled)
            base = self._baseline(fixed, seen, batch, scores["reward"], special)
            log_probs, length = sequence_log_probs(
                captioner, memory, sampled, self.sampling.temperature
            )
        advantage = scores["reward"] - base
        loss = -(advantage * log_probs).sum() / length.sum().clamp_min(1)
        loss = loss * rank_weight(length.sum(), loss)
        self.check(scores)
        diagnostics = {name: value.mean() for name, value in scores.items()}
        diagnostics |= {
            "baseline": base.mean(),
            "advantage": advantage.abs().mean(),
            "length": length.float().mean(),
            "ended": _ended(sampled, special["eos_id"]).float().mean(),
        }
        if self.likelihood:
            nll = mean_nll(captioner, memory, batch)
            diagnostics["nll"] = nll.detach()
            loss = loss + self.likelihood * nll
        return loss, diagnostics

    def _baseline(
        self,
        fixed: Fixed,
        memory: Memory,
        batch: Batch,
        reward: Tensor,
        special: dict[str, Any],
    ) -> Tensor:
        """Return what a reward (B,K) is compared with, (B,K) or (B,1)."""
        if self.baseline == "greedy":
            return score_samples(self.reward, batch, self.greedy(fixed, memory, **special))[
                "reward"
            ]
        if self.baseline == "leave_one_out":
            return leave_one_out(reward)
        mean = averaged(reward.mean())
        before = torch.where(self.average.isnan(), mean, self.average)
        self.average.copy_(self.decay * before + (1 - self.decay) * mean)
        return before.expand(len(reward), 1)


class StartCheck:
    """Compares the first rewards with the validation score of the model that they began from."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.expected: dict[str, float] = {}

    def begin(self, reward: Reward, scores: Mapping[str, float]) -> None:
        """Remember the validation scores that the reward is made of."""
        self.expected = {name: scores[name] for name in reward.weights if name in scores}
        self.seen: dict[str, list[float]] = {name: [] for name in self.expected}

    def __call__(self, scores: Mapping[str, Tensor]) -> None:
        """Count one step.

        Raises:
            UserError: after the last of the steps, where a mean is far from the validation score.
        """
        if not self.expected or not self.steps:
            return
        for name, values in self.seen.items():
            values.append(float(averaged(scores[name].mean())))
        if len(next(iter(self.seen.values()))) < self.steps:
            return
        for name, wanted in self.expected.items():
            found = sum(self.seen[name]) / self.steps
            if not LEAST * wanted <= found <= MOST * wanted:
                raise UserError(
                    f"The sampled captions' mean {name} is {found:.3f} over the first {self.steps} "
                    f"steps, and the starting model's val/{name} was {wanted:.3f}: it seems to be "
                    "trained with another vocabulary, or scored against other references. Start "
                    "from the right checkpoint with init_from=, or switch the check off with "
                    "objective.check_steps=0"
                )
        self.expected = {}


class Fixed:
    """A captioner's ``init_state`` and ``step`` alone: a latent stays at its prior's mean."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner

    def init_state(self, memory: Memory, width: int) -> State:
        """Return the state before the first token."""
        return self._captioner.init_state(memory, width)

    def step(self, token_ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B,W,V) and the next state."""
        return self._captioner.step(token_ids, state)


def leave_one_out(reward: Tensor) -> Tensor:
    """Return the mean reward (B,K) of an image's other samples (Luo 2020, equation 4)."""
    return (reward.sum(1, keepdim=True) - reward) / (reward.shape[1] - 1)


def score_samples(reward: Reward, batch: Batch, captions: Generated) -> dict[str, Tensor]:
    """Return each score (B,K) of captions of a batch's images, on the captions' device."""
    width = captions.tokens.shape[1]
    ids = [image_id for image_id in batch.image_ids for _ in range(width)]
    found = reward(ids, listed(captions.tokens, captions.lengths))
    device = captions.tokens.device
    return {
        name: torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, width)
        for name, values in found.items()
    }


def sampled_logits(
    captioner: Captioner, memory: Memory, captions: Generated
) -> tuple[Tensor, Tensor]:
    """Return the logits (M,V) of captions' own tokens, with gradient, and where these are (B,K,T).

    Computed teacher-forced in one pass: only the tokens that were said reach the vocabulary. What is
    never drawn (bos, padding, the unknown word, the end of an empty caption) has no probability
    here either: else what is rewarded less would raise a word that is never said.
    """
    special = special_ids(captioner)
    tokens = captions.tokens
    steps = torch.arange(tokens.shape[-1], device=tokens.device)
    real = steps < captions.lengths[..., None]
    inputs = F.pad(tokens[..., :-1], (1, 0), value=special["bos_id"])
    inputs = inputs.masked_fill(~real, special["pad_id"])
    logits = captioner.logits(captioner.decoder(memory, inputs).hidden[real]).float()
    ids = torch.arange(logits.shape[-1], device=logits.device)
    never = [special["bos_id"], special["pad_id"], *special["banned_ids"]]
    banned = torch.isin(ids, torch.tensor(never, device=ids.device))
    first = (steps == 0).expand(real.shape)[real].unsqueeze(-1)
    # finite: the Gumbel noise of what cannot be drawn is a difference of such numbers
    return logits.masked_fill(banned | (first & (ids == special["eos_id"])), NEVER), real


def sequence_log_probs(
    captioner: Captioner, memory: Memory, captions: Generated, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the log-probability (B,K) of whole captions, with gradient, and their tokens (B,K).

    The logits are divided by ``temperature``, as they were when the captions were drawn.
    """
    logits, real = sampled_logits(captioner, memory, captions)
    logits = logits / temperature
    lengths = captions.lengths
    nll = F.cross_entropy(logits, captions.tokens[real], reduction="none")
    owner = torch.arange(lengths.numel(), device=nll.device).view_as(lengths)
    total = nll.new_zeros(lengths.numel()).index_add(0, owner[..., None].expand_as(real)[real], nll)
    return -total.view_as(lengths), lengths


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Let a module answer as in evaluation, and still be differentiable on a GPU.

    cuDNN's recurrent layers refuse a backward pass in evaluation: they stay in training, with their
    own dropout at 0.
    """
    parts: list[Any] = list(module.modules())
    recurrent = [part for part in parts if isinstance(part, nn.RNNBase)]
    before = [part.training for part in parts], [part.dropout for part in recurrent]
    try:
        for part in parts:
            part.training = isinstance(part, nn.RNNBase)
        for part in recurrent:
            part.dropout = 0.0
        yield
    finally:
        for part, training in zip(parts, before[0], strict=True):
            part.training = training
        for part, dropout in zip(recurrent, before[1], strict=True):
            part.dropout = dropout


def special_ids(captioner: Captioner) -> dict[str, Any]:
    """Return the ids that decoding asks for."""
    # every tokenizer has them at these places (captionlab.text.tokenizers.Tokenizer)
    return {"bos_id": 1, "eos_id": 2, "pad_id": captioner.decoder.pad_id, "banned_ids": (3,)}


def _ended(captions: Generated, eos_id: int) -> Tensor:
    return (captions.tokens == eos_id).any(-1)
