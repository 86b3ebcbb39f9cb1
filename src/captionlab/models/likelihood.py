"""Teacher forcing and the likelihood of captions: what training and evaluation both ask of a captioner.

B images, K captions an image, T tokens, M real tokens of a batch, H hidden width, N memory slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.models.captioner import Captioner, Decoded


class CaptionTokens(Protocol):
    """The captions of a batch (``captionlab.data.CaptionBatch`` fits)."""

    tokens: Tensor  # (B,K,T) int64: bos, words, eos, padding
    lengths: Tensor  # (B,K) int64: real tokens with bos and eos, 0 for an absent caption


class Shifted(NamedTuple):
    """Teacher forcing: what the decoder reads, what it must predict, and which positions are real."""

    inputs: Tensor  # (B,K,T-1)
    targets: Tensor  # (B,K,T-1)
    real: Tensor  # (B,K,T-1) bool


def shift(tokens: Tensor, lengths: Tensor) -> Shifted:
    """Return inputs and targets one token apart, the only place where this is done.

    Args:
        tokens: (B,K,T); lengths: (B,K), bos and eos counted.
    """
    steps = torch.arange(tokens.shape[-1] - 1, device=tokens.device)
    return Shifted(tokens[..., :-1], tokens[..., 1:], steps < (lengths[..., None] - 1))


class TeacherForced(NamedTuple):
    """The decoder's predictions for the real tokens of a batch."""

    logits: Tensor  # (M,V)
    targets: Tensor  # (M,)
    weights: Tensor | None  # attention (B,K,T-1,N)
    real: Tensor  # (B,K,T-1) bool
    decoded: Decoded  # all that the decoder gave


def teacher_forced(captioner: Captioner, memory: Memory, batch: CaptionTokens) -> TeacherForced:
    """Return logits and targets of the batch's M real tokens; padding never reaches the vocabulary."""
    inputs, targets, real = shift(batch.tokens, batch.lengths)
    # the end token is no input: as padding its step is not computed
    inputs = inputs.masked_fill(~real, captioner.decoder.pad_id)
    decoded: Decoded = captioner.decoder(memory, inputs)
    logits = captioner.logits(decoded.hidden[real])
    return TeacherForced(logits, targets[real], decoded.weights, real, decoded)


@torch.no_grad()
def caption_nll(
    captioners: Sequence[Captioner], memories: Sequence[Memory], batch: CaptionTokens
) -> tuple[Tensor, Tensor]:
    """Return each image's summed negative log-likelihood in nats (B,) and its number of tokens (B,).

    Several captioners, each with its memory of the images, predict with the mean of their
    probabilities.
    """
    log_probs = []
    for captioner, memory in zip(captioners, memories, strict=True):
        logits, targets, _, real, _ = teacher_forced(captioner, memory, batch)
        log_probs.append(-F.cross_entropy(logits.float(), targets, reduction="none"))
    token_nll = math.log(len(log_probs)) - torch.stack(log_probs).logsumexp(0)
    images = torch.arange(len(real), device=token_nll.device)
    owner = images[:, None, None].expand_as(real)[real]
    total = token_nll.new_zeros(len(images)).index_add_(0, owner, token_nll)
    return total, real.sum((1, 2))
