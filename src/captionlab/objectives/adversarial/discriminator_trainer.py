"""A discriminator in training: its loss, its optimizer, its accuracy, and what resumes it.

Legend: B images, K captions an image, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.distributed import broadcast_tensors
from captionlab.core.memory import Memory
from captionlab.objectives.adversarial.discriminators import Discriminator
from captionlab.objectives.base import averaged, rank_weight

DiscriminatorLoss = Literal["bce", "hinge", "wgan"]
DiscriminatorFactory = Callable[..., Discriminator]  # of vocabulary_size and memory_dim
PENALTY = 10.0  # of WGAN-GP (Gulrajani et al. 2017, algorithm 1)


class MaskedTokens(NamedTuple):
    """Captions of a batch's images without their beginning."""

    ids: Tensor  # (B,K,T)
    mask: Tensor  # (B,K,T) bool, True on words and end; nowhere for an absent caption


class DiscriminatorTrainer:
    """The other side of adversarial training; no module, so that the captioner's optimizer, its
    gradient clipping and DDP's bookkeeping never see its weights.

    It takes its step whenever the captioner takes one, in single precision whatever the captioner's,
    with its gradients averaged over the batches of that step and over all ranks. ``accuracy_limit``
    is the accuracy on real and generated captions above which it waits for the captioner (Shetty et
    al. 2017, supplement). ``loss``: binary cross-entropy, hinge (Lim and Ye 2017), or Wasserstein
    with gradient penalty (Gulrajani et al. 2017).
    """

    def __init__(
        self,
        network: Discriminator,
        *,
        learning_rate: float,
        loss: DiscriminatorLoss,
        accuracy_limit: float,
    ) -> None:
        self.network = network
        self.loss = loss
        self.accuracy_limit = accuracy_limit
        self.steps = 0
        self.pending_batches = 0  # whose gradients wait for the next step
        self.gradient_norm = 0.0
        self.accuracy = 0.5  # a moving average: one batch says little
        # little momentum: its opponent moves (Radford et al. 2016)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.5, 0.9))

    def to(self, device: torch.device) -> None:
        """Move weights and the optimizer's averages to a device."""
        self.network.to(device)
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.ndim:
                    state[name] = value.to(device)

    def broadcast_weights(self) -> None:
        """Give every rank the weights of the first one."""
        broadcast_tensors(self.network.state_dict().values())

    def accumulate(
        self, memory: Memory, real: MaskedTokens, generated: MaskedTokens
    ) -> dict[str, Tensor]:
        """Keep the gradient of a batch for ``step``; return the loss and the accuracies.

        Real captions of another image are a third kind, mismatched ones.
        """
        real_scores, mismatched_scores, fake_scores = self._scores(memory, real, generated)
        weight = rank_weight(len(real_scores), fake_scores)
        loss = weight * self._criterion(real_scores, 1.0) + 0.5 * (
            self._criterion(fake_scores, -1.0) + weight * self._criterion(mismatched_scores, -1.0)
        )
        # Wasserstein scores have no zero of their own
        wasserstein = self.loss == "wgan"
        threshold = (real_scores.mean() + fake_scores.mean()) / 2 if wasserstein else 0.0
        accuracies = {
            "d_real": (real_scores > threshold).float().mean(),
            "d_fake": (fake_scores < threshold).float().mean(),
            "d_mismatched": (mismatched_scores < threshold).float().mean(),
        }
        # captions of other images may fit: how many of them it finds out says little of the match
        accuracy = ((weight * accuracies["d_real"] + accuracies["d_fake"]) / 2).detach()
        self.accuracy = 0.9 * self.accuracy + 0.1 * float(averaged(accuracy))
        if self.accuracy < self.accuracy_limit:
            if wasserstein:
                loss = loss + PENALTY * self._gradient_penalty(memory, real, generated)
            loss.backward()
        self.pending_batches += 1
        return {**accuracies, "d_loss": loss.detach(), "d_accuracy": accuracy}

    def _scores(
        self, memory: Memory, real: MaskedTokens, generated: MaskedTokens
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores of the real captions that there are, of the same ones mismatched, and (B,K)."""
        network = self.network.train()
        encoded = network.encode(network.embed(*real), real.mask)
        matched = network.match(memory, encoded, real.mask).scores
        other = memory.each(lambda tensor: tensor.roll(1, 0))
        mismatched = network.match(other, encoded, real.mask).scores
        fake = network(memory, network.embed(*generated), generated.mask).scores
        present = real.mask.any(-1)
        return matched[present], mismatched[present], fake

    def step(self) -> None:
        """Take a step along the mean gradient since the last one."""
        if not self.pending_batches:
            return
        weights = [weight for weight in self.network.parameters() if weight.grad is not None]
        for weight in weights:
            weight.grad = averaged(cast(Tensor, weight.grad) / self.pending_batches)
        if weights:
            self.gradient_norm = float(torch.nn.utils.clip_grad_norm_(weights, 1.0))
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.pending_batches = 0
        self.steps += 1

    def _criterion(self, scores: Tensor, side: float) -> Tensor:
        if not scores.numel():
            return scores.sum()
        if self.loss == "wgan":
            return -side * scores.mean()
        if self.loss == "hinge":
            return (1 - side * scores).relu().mean()
        return F.softplus(-side * scores).mean()

    def _gradient_penalty(
        self, memory: Memory, real: MaskedTokens, generated: MaskedTokens
    ) -> Tensor:
        """Return how far the gradient's norm is from 1 between real and generated captions.

        Gulrajani et al. 2017, equation 3; the captions are mixed as embedded words.
        """
        count = min(real.ids.shape[1], generated.ids.shape[1])
        length = max(real.ids.shape[2], generated.ids.shape[2])
        first, second = (_resized(captions, count, length) for captions in (real, generated))
        share = torch.rand(len(memory), count, 1, 1, device=memory.pooled.device)
        with torch.no_grad():
            mixed = share * self.network.embed(*first) + (1 - share) * self.network.embed(*second)
        mixed.requires_grad_()
        # cuDNN's recurrent layers cannot be differentiated twice
        with torch.backends.cudnn.flags(enabled=False):
            scores = self.network(memory, mixed, first.mask | second.mask).scores
            # a set's one score stands there for each of its captions
            scores = scores.mean(1) if self.network.scores_sets else scores
            (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        # the root has no slope at 0
        return ((slope.flatten(2).square().sum(-1) + 1e-12).sqrt() - 1).square().mean()

    @contextmanager
    def frozen(self) -> Iterator[Discriminator]:
        """Lend the network: without dropout, and with no gradient to its weights."""
        self.network.eval()
        # cuDNN's recurrent layers have no backward pass in evaluation
        for module in self.network.modules():
            if isinstance(module, torch.nn.RNNBase):
                module.train()
        weights = list(self.network.parameters())
        for weight in weights:
            weight.requires_grad_(False)
        try:
            yield self.network
        finally:
            for weight in weights:
                weight.requires_grad_(True)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: weights, optimizer, steps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "accuracy": self.accuracy,
            "gradient_norm": self.gradient_norm,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.accuracy = state["accuracy"]
        self.gradient_norm = state["gradient_norm"]


def _resized(captions: MaskedTokens, count: int, length: int) -> MaskedTokens:
    """Return the first ``count`` captions of each image, padded to ``length`` tokens."""
    return MaskedTokens(*(F.pad(part[:, :count], (0, length - part.shape[2])) for part in captions))
