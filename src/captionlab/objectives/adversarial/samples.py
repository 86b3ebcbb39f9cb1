"""Captions drawn in adversarial training, and the policy gradient that they give.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated
from captionlab.objectives.adversarial.discriminator_trainer import MaskedTokens
from captionlab.objectives.base import rank_weight


class SampledBatch(NamedTuple):
    """Captions that were drawn of a batch's images."""

    memory: Memory  # with gradient
    captions: Generated
    mask: Tensor  # (B,K,T)
    logits: Tensor  # (M,V) of their tokens with gradient, divided by the temperature

    @property
    def tokens(self) -> MaskedTokens:
        """The captions as a discriminator reads them."""
        return MaskedTokens(self.captions.tokens, self.mask)

    @property
    def words(self) -> Tensor:
        """The captions' tokens (M,)."""
        return self.captions.tokens[self.mask]


def detached_float(memory: Memory) -> Memory:
    """Return a memory without gradient and in single precision, in which a discriminator reads it."""
    return memory.each(lambda part: part.detach().float() if part.is_floating_point() else part)


def policy_loss(samples: SampledBatch, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Return the policy gradient's loss, and the entropy of a word in nats, detached.

    The loss is minus the mean of advantage (B,K,T) or (B,K,1) times log-probability of the tokens.
    """
    log_probs = samples.logits.log_softmax(-1)
    chosen = log_probs.gather(-1, samples.words.unsqueeze(-1)).squeeze(-1)
    gain = (advantage.expand(samples.mask.shape)[samples.mask] * chosen).mean()
    constant = log_probs.detach()
    entropy = -(constant.exp() * constant).sum(-1).mean()
    return -gain * rank_weight(len(chosen), gain), entropy
