"""A discriminator in training: its loss, its optimizer, its accuracy, and what resumes it.

Legend: B images, K captions an image, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from captionlab.memory import Memory
from captionlab.models.discriminators import Discriminator

Loss = Literal["bce", "hinge"]


class Adversary:
    """The other side of adversarial training; no module, so that the captioner's optimizer, its
    gradient clipping and DDP's bookkeeping never see its weights.

    It takes a step of its own in every batch, in single precision whatever the captioner's, with
    its gradients averaged over all ranks. ``limit`` is the accuracy on real and sampled captions above
    which it waits for the captioner (Shetty et al. 2017, supplement).
    """

    def __init__(
        self, network: Discriminator, *, learning_rate: float, loss: Loss, limit: float
    ) -> None:
        self.network = network
        self.loss = loss
        self.limit = limit
        self.steps = 0
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
        """Take a step, unless it is too good already; return its loss and accuracies.

        Args:
            memory: of the images. persons, machines: ids (B,K,T) of captions, and which are real
                tokens (B,K,T). A person's captions of another image are a third kind.
        """
        network = self.network.train()
        real = network(memory, network.embed(*persons), persons[1])
        fake = network(memory, network.embed(*machines), machines[1])
        other = memory.each(lambda tensor: tensor.roll(1, 0))
        mismatched = network(other, network.embed(*persons), persons[1])
        there = persons[1].any(-1)
        real, mismatched = real[there], mismatched[there]
        loss = self._criterion(real, 1.0) + 0.5 * (
            self._criterion(fake, -1.0) + self._criterion(mismatched, -1.0)
        )
        accuracies = {
            "d_real": (real > 0).float().mean(),
            "d_fake": (fake < 0).float().mean(),
            "d_mismatched": (mismatched < 0).float().mean(),
        }
        # captions of other images may fit: how many of them it finds out says little of the match
        told = (accuracies["d_real"] + accuracies["d_fake"]) / 2
        self.accuracy = 0.9 * self.accuracy + 0.1 * float(averaged(told.detach()))
        if self.accuracy < self.limit:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._average_gradients()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            self.optimizer.step()
        self.steps += 1
        return {**accuracies, "d_loss": loss.detach(), "d_accuracy": told.detach()}

    def _criterion(self, scores: Tensor, side: float) -> Tensor:
        if not scores.numel():
            return scores.sum()
        if self.loss == "hinge":
            return (1 - side * scores).relu().mean()
        return F.softplus(-side * scores).mean()

    def judge(self, memory: Memory, embedded: Tensor, real: Tensor) -> Tensor:
        """Return scores (B,K) of embedded captions, with gradient to them, none to the weights."""
        self.network.eval()
        # cuDNN's recurrent layers have no backward pass in evaluation
        for module in self.network.modules():
            if isinstance(module, torch.nn.RNNBase):
                module.train()
        weights = list(self.network.parameters())
        for weight in weights:
            weight.requires_grad_(False)
        try:
            return self.network(memory, embedded, real)
        finally:
            for weight in weights:
                weight.requires_grad_(True)

    def _average_gradients(self) -> None:
        for weight in self.network.parameters():
            if weight.grad is not None:
                weight.grad = averaged(weight.grad)

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs: weights, optimizer, steps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "accuracy": self.accuracy,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.accuracy = state["accuracy"]


Build = Callable[..., Discriminator]


def averaged(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all ranks."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value
