"""The evidence lower bound of a captioner with a latent variable.

B images, K captions an image, T tokens, M real tokens of a batch, Z latent width.
"""

from __future__ import annotations

from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import teacher_forced
from captionlab.objectives.base import (
    Batch,
    Objective,
    averaged,
    joined,
    rank_weight,
)
from captionlab.objectives.cross_entropy_loss import cross_entropy
from captionlab.objectives.likelihood.cross_entropy import with_penalty
from captionlab.objectives.schedules import LinearSchedule

# nats beyond the free bits from which on a dimension of the latent counts as active
ACTIVE = 0.01


class Variational(Objective):
    """Likelihood of captions given a latent drawn from its posterior, and that posterior's price.

    The bound of a caption is its negative log-likelihood plus KL(posterior | prior) (Sohn et al.
    2015, equation 4), both in nats a caption. Summed over a batch's captions and divided by its M
    real tokens they are nats a token, so that the loss compares with that of cross-entropy. The KL
    is weighed by a factor that grows from 0 to 1 over the first ``anneal_epochs`` (Bowman et al.
    2016, section 3.1). Each dimension of the latent has ``free_bits`` nats, the mean over a batch's
    captions, for nothing (Kingma et al. 2016, equation 15): less costs no less.

    Raises:
        UserError: if a value is negative, or the captioner has no latent variable.
    """

    name = "variational"

    def __init__(self, *, anneal_epochs: float = 5.0, free_bits: float = 0.05) -> None:
        super().__init__()
        if not anneal_epochs >= 0:
            raise UserError(
                f"objective.anneal_epochs={anneal_epochs} must be 0 (no annealing) or more."
            )
        if not free_bits >= 0:
            raise UserError(f"objective.free_bits={free_bits} must be 0 (none) or more.")
        self.schedule = LinearSchedule(0.0, 1.0, anneal_epochs)
        self.free_bits = free_bits
        self.on_train_batch_start(0.0)

    def on_train_batch_start(self, epoch: float) -> None:
        """Set the factor of the KL from the epochs done so far."""
        self.factor = self.schedule(epoch)

    def forward(self, captioner: Captioner, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in nats a token, with ``nll``, ``kl`` (nats a caption) and ``active_units``.

        ``active_units`` counts the latent's dimensions whose mean KL is above their free bits by
        0.01 nats: these say something that is worth its price.
        """
        memory = captioner.encode(batch.images)
        logits, targets, weights, real, decoded = teacher_forced(captioner, memory, batch)
        if decoded.kl is None:
            raise UserError(
                "objective=variational needs a decoder with a latent variable: say model=cvae, or "
                "objective=cross_entropy."
            )
        nll, _ = cross_entropy(logits, targets)
        kl = decoded.kl[real.any(-1)]  # (captions,Z)
        mean_kl = joined(kl.mean(0), len(kl))  # of all ranks: what is free hangs on it
        captions, tokens = averaged(nll.new_tensor([len(kl), len(targets)]))
        penalty = mean_kl.clamp_min(self.free_bits).sum() * (captions / tokens)
        nll = nll * rank_weight(len(targets), nll)
        diagnostics = {
            "nll": nll.detach(),
            "kl": mean_kl.detach().sum(),
            "active_units": (mean_kl.detach() > self.free_bits + ACTIVE).sum().float(),
        }
        loss = nll + self.factor * penalty
        return with_penalty(captioner, weights, real, loss, diagnostics)
