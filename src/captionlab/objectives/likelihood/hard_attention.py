"""Likelihood of captions under hard attention, its choices learned by REINFORCE.

B images, K captions an image, T tokens, M real tokens of a batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import teacher_forced
from captionlab.objectives.base import Batch, Objective, joined, rank_weight
from captionlab.objectives.likelihood.cross_entropy import with_penalty


class HardAttentionLoss(Objective):
    """Show, Attend and Tell (Xu et al. 2015), section 4.1, for attention that draws its slots.

    The loss of a caption y with drawn slots s is
    ``-log p(y|s) - reinforce * (log p(y|s) - b) * log p(s) - entropy * H[s]``, log-probabilities
    and entropies summed over its steps and the bracket a constant; its gradient is the section's
    last equation. The baseline b is the moving average of log p(y|s),
    ``b = decay * b + (1 - decay) * mean``, over all ranks; it begins as the first batch's mean and
    lives in a buffer, which a checkpoint keeps. The sum over captions is divided by M, so that the
    loss is in nats a token.

    Raises:
        UserError: if a factor is negative, ``baseline_decay`` not in [0, 1), or the captioner's
            attention is not hard.
    """

    name = "hard_attention"
    baseline: Tensor

    def __init__(
        self, *, reinforce: float = 1.0, entropy: float = 0.002, baseline_decay: float = 0.9
    ) -> None:
        super().__init__()
        if not (reinforce >= 0 and entropy >= 0):
            raise UserError(
                f"objective.reinforce={reinforce} and objective.entropy={entropy} must not be "
                "negative."
            )
        if not 0 <= baseline_decay < 1:
            raise UserError(
                f"objective.baseline_decay={baseline_decay} is not in [0, 1): the paper has 0.9."
            )
        self.reinforce = reinforce
        self.entropy = entropy
        self.baseline_decay = baseline_decay
        self.register_buffer("baseline", torch.tensor(math.nan))

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, with ``nll`` (a token), ``baseline`` and ``entropy`` (a step) beside it."""
        memory = captioner.encode(batch.images)
        logits, targets, weights, real, decoded = teacher_forced(captioner, memory, batch)
        if decoded.log_choice is None or decoded.entropy is None:
            raise UserError(
                "objective=hard_attention trains an attention that draws its slots: say "
                "model/attention=hard, or objective=cross_entropy."
            )
        token_nll = F.cross_entropy(logits.float(), targets, reduction="none")
        nll_at = token_nll.new_zeros(real.shape)
        nll_at[real] = token_nll.detach()
        present = real.any(-1)
        log_likelihood = -nll_at.sum(-1)[present]  # (captions,)
        mean = joined(log_likelihood.mean(), len(log_likelihood))
        advantage = log_likelihood - self._update_baseline(mean)
        log_choice = decoded.log_choice.float().masked_fill(~real, 0.0).sum(-1)[present]
        entropy = decoded.entropy.float()[real].sum()
        gain = self.reinforce * (advantage * log_choice).sum() + self.entropy * entropy
        nll = token_nll.mean()
        weight = rank_weight(len(targets), nll)
        diagnostics = {
            "nll": nll.detach() * weight,
            "baseline": self.baseline.clone(),
            "entropy": entropy.detach() / len(targets),
        }
        loss = (nll - gain / len(targets)) * weight
        return with_penalty(captioner, weights, real, loss, diagnostics)

    @torch.no_grad()
    def _update_baseline(self, mean: Tensor) -> Tensor:
        """Return the baseline of this batch, and move the average on by the batch's mean."""
        before = torch.where(self.baseline.isnan(), mean, self.baseline)
        self.baseline.copy_(self.baseline_decay * before + (1 - self.baseline_decay) * mean)
        return before
