"""A discriminator in training: its loss, its optimizer, its accuracy, and what resumes it.

Legend: B images, K captions an image, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.objectives.adversarial.discriminators import Discriminator
from captionlab.objectives.base import averaged, rank_weight

Loss = Literal["bce", "hinge", "wgan"]
PENALTY = 10.0  # of WGAN-GP (Gulrajani et al. 2017, algorithm 1)


class Adversary:
    """The other side of adversarial training; no module, so that the captioner's optimizer, its
    gradient clipping and DDP's bookkeeping never see its weights.

    It takes its step whenever the captioner takes one, in single precision whatever the captioner's,
    with its gradients averaged over the batches of that step and over all ranks. ``limit`` is the
    accuracy on real and sampled captions above which it waits for the captioner (Shetty et al. 2017,
    supplement). ``loss``: binary cross-entropy, hinge (Lim and Ye 2017), or Wasserstein with
    gradient penalty (Gulrajani et al. 2017).
    """

    def __init__(
        self, network: Discriminator, *, learning_rate: float, loss: Loss, limit: float
    ) -> None:
        self.network = network
        self.loss = loss
        self.limit = limit
        self.steps = 0
        self.batches = 0  # whose gradients wait for the next step
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

    def agree(self) -> None:
        """Give every rank the weights of the first one."""
        if dist.is_available() and dist.is_initialized():
            for tensor in self.network.state_dict().values():
                dist.broadcast(tensor, src=0)

    def learn(
        self,
        memory: Memory,
        persons: tuple[Tensor, Tensor],
        machines: tuple[Tensor, Tensor],
    ) -> dict[str, Tensor]:
        """Keep the gradient of a batch for ``step``; return the loss and the accuracies.

        Args:
            memory: of the images. persons, machines: ids (B,K,T) of captions, and which are real
                tokens (B,K,T). A person's captions of another image are a third kind.
        """
        network = self.network.train()
        read = network.read(network.embed(*persons), persons[1])
        real = network.match(memory, read, persons[1]).scores
        other = memory.each(lambda tensor: tensor.roll(1, 0))
        mismatched = network.match(other, read, persons[1]).scores
        fake = network(memory, network.embed(*machines), machines[1]).scores
        there = persons[1].any(-1)
        real, mismatched = real[there], mismatched[there]
        weight = rank_weight(there.sum(), fake)
        loss = weight * self._criterion(real, 1.0) + 0.5 * (
            self._criterion(fake, -1.0) + weight * self._criterion(mismatched, -1.0)
        )
        # Wasserstein scores have no zero of their own
        middle = (real.mean() + fake.mean()) / 2 if self.loss == "wgan" else 0.0
        accuracies = {
            "d_real": (real > middle).float().mean(),
            "d_fake": (fake < middle).float().mean(),
            "d_mismatched": (mismatched < middle).float().mean(),
        }
        # captions of other images may fit: how many of them it finds out says little of the match
        told = (weight * accuracies["d_real"] + accuracies["d_fake"]) / 2
        self.accuracy = 0.9 * self.accuracy + 0.1 * float(averaged(told.detach()))
        if self.accuracy < self.limit:
            if self.loss == "wgan":
                loss = loss + PENALTY * self._penalty(memory, persons, machines)
            loss.backward()
        self.batches += 1
        return {**accuracies, "d_loss": loss.detach(), "d_accuracy": told.detach()}

    def step(self) -> None:
        """Take a step along the mean gradient since the last one."""
        if not self.batches:
            return
        weights = [weight for weight in self.network.parameters() if weight.grad is not None]
        for weight in weights:
            weight.grad = averaged(cast(Tensor, weight.grad) / self.batches)
        if weights:
            self.gradient_norm = float(torch.nn.utils.clip_grad_norm_(weights, 1.0))
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.batches = 0
        self.steps += 1

    def _criterion(self, scores: Tensor, side: float) -> Tensor:
        if not scores.numel():
            return scores.sum()
        if self.loss == "wgan":
            return -side * scores.mean()
        if self.loss == "hinge":
            return (1 - side * scores).relu().mean()
        return F.softplus(-side * scores).mean()

    def _penalty(
        self, memory: Memory, persons: tuple[Tensor, Tensor], machines: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return how far the gradient's norm is from 1 between real and sampled captions.

        Gulrajani et al. 2017, equation 3; the captions are mixed as embedded words.
        """
        count = min(persons[0].shape[1], machines[0].shape[1])
        length = max(persons[0].shape[2], machines[0].shape[2])
        first, second = (
            [F.pad(part[:, :count], (0, length - part.shape[2])) for part in caption]
            for caption in (persons, machines)
        )
        share = torch.rand(len(memory), count, 1, 1, device=memory.pooled.device)
        with torch.no_grad():
            mixed = share * self.network.embed(*first) + (1 - share) * self.network.embed(*second)
        mixed.requires_grad_()
        # cuDNN's recurrent layers cannot be differentiated twice
        with torch.backends.cudnn.flags(enabled=False):
            scores = self.network(memory, mixed, first[1] | second[1]).scores
            # a set's one score stands there for each of its captions
            scores = scores.mean(1) if self.network.sets else scores
            (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        # the root has no slope at 0
        return ((slope.flatten(2).square().sum(-1) + 1e-12).sqrt() - 1).square().mean()

    @contextmanager
    def judging(self) -> Iterator[Discriminator]:
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

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs: weights, optimizer, steps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "accuracy": self.accuracy,
            "gradient_norm": self.gradient_norm,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.accuracy = state["accuracy"]
        self.gradient_norm = state["gradient_norm"]


Build = Callable[..., Discriminator]
