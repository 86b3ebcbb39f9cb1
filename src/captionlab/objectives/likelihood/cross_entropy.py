"""Maximum likelihood of the reference captions, token by token."""

from __future__ import annotations

from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import teacher_forced
from captionlab.objectives.base import Batch, Objective, rank_weight
from captionlab.objectives.cross_entropy_loss import cross_entropy


class CrossEntropy(Objective):
    """Token cross-entropy with label smoothing, and the attention's doubly stochastic penalty.

    The mean runs over real tokens; padding is never computed. Label smoothing: Szegedy et al. 2016,
    section 7. The penalty, ``lambda * sum_i (1 - sum_t alpha_ti)^2`` averaged over captions, is
    equation 14 of Show, Attend and Tell (Xu et al. 2015); its weight belongs to the attention
    (``model.attention.doubly_stochastic``) because only some attentions want it.

    Raises:
        UserError: if label smoothing is not in [0, 1).
    """

    name = "cross_entropy"

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise UserError(
                f"objective.label_smoothing={label_smoothing} is not in [0, 1): 0 is off, 0.1 is usual."
            )
        self.label_smoothing = label_smoothing

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in nats a token, with ``nll`` (unsmoothed) and ``attention_penalty`` beside it."""
        memory = captioner.encode(batch.images)
        logits, targets, weights, real, _ = teacher_forced(captioner, memory, batch)
        loss, nll = cross_entropy(logits, targets, self.label_smoothing)
        weight = rank_weight(len(targets), loss)
        return with_penalty(captioner, weights, real, loss * weight, {"nll": nll * weight})


def with_penalty(
    captioner: Captioner,
    weights: Tensor | None,
    real: Tensor,
    loss: Tensor,
    diagnostics: dict[str, Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return loss and diagnostics with the penalty that the captioner's attention asks for, if any.

    Args:
        weights: attention (B,K,T,N) | None; real: which steps count, (B,K,T) bool.
    """
    if not captioner.attention_penalty or weights is None:
        return loss, diagnostics
    penalty = captioner.attention_penalty * doubly_stochastic(weights, real)
    return loss + penalty, {**diagnostics, "attention_penalty": penalty.detach()}


def doubly_stochastic(weights: Tensor, real: Tensor) -> Tensor:
    """Return the mean over captions of ``sum_i (1 - sum_t alpha_ti)^2`` (Xu et al. 2015, eq. 14).

    Args:
        weights: attention (B,K,T,N); real: which steps count, (B,K,T) bool.
    """
    attended = (weights * real[..., None]).sum(2)  # (B,K,N)
    penalty = (1 - attended).square().sum(-1)  # (B,K)
    present = real.any(-1)
    mean = (penalty * present).sum() / present.sum()
    return mean * rank_weight(present.sum(), mean)
