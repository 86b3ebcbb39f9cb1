"""Teacher forcing and the likelihood of captions: what training and evaluation both ask of a captioner.

B images, K captions an image, T tokens, P tokens of a prompt, S steps, M real tokens of a batch,
H hidden width, N memory slots.
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
    prompts: Tensor | None  # (B,K,P) int64: tokens given before the words, then padding


class Shifted(NamedTuple):
    """Teacher forcing: what the decoder reads, what it must predict, and where it is scored.

    S is T-1, or T-1+P behind prompts.
    """

    inputs: Tensor  # (B,K,S): bos, the prompt, words; from the end on padding
    targets: Tensor  # (B,K,S)
    real: Tensor  # (B,K,S) bool: the steps that predict words or eos, none that predicts a prompt


def shift(batch: CaptionTokens, pad_id: int) -> Shifted:
    """Return inputs and targets one token apart, the only place where this is done."""
    tokens, lengths = batch.tokens, batch.lengths
    given = torch.zeros_like(lengths)
    if batch.prompts is not None:
        given = (batch.prompts != pad_id).sum(-1) * (lengths > 0)
        tokens = _behind_prompts(tokens, batch.prompts, given)
    steps = torch.arange(tokens.shape[-1] - 1, device=tokens.device)
    read = steps < (lengths + given - 1)[..., None]
    # the end token is no input: as padding its step is not computed
    inputs = tokens[..., :-1].masked_fill(~read, pad_id)
    return Shifted(inputs, tokens[..., 1:], read & (steps >= given[..., None]))


def _behind_prompts(tokens: Tensor, prompts: Tensor, given: Tensor) -> Tensor:
    """Return bos, the ``given`` (B,K) tokens of each prompt, and the rest of tokens, (B,K,T+P)."""
    longest = prompts.shape[-1]
    steps = torch.arange(tokens.shape[-1] + longest, device=tokens.device)
    # a prompt that is shorter than the longest is followed by its caption, not by padding
    skipped = (steps > given[..., None]) * (longest - given[..., None])
    places = (steps + skipped).clamp_max(len(steps) - 1)
    # past the end the last place is read again and again: no step there is real
    return torch.cat([tokens[..., :1], prompts, tokens[..., 1:]], -1).gather(-1, places)


class TeacherForced(NamedTuple):
    """The decoder's predictions for the real tokens of a batch."""

    logits: Tensor  # (M,V)
    targets: Tensor  # (M,)
    weights: Tensor | None  # attention (B,K,S,N)
    real: Tensor  # (B,K,S) bool
    decoded: Decoded  # all that the decoder gave


def teacher_forced(captioner: Captioner, memory: Memory, batch: CaptionTokens) -> TeacherForced:
    """Return logits and targets of the batch's M real tokens; padding never reaches the vocabulary."""
    inputs, targets, real = shift(batch, captioner.decoder.pad_id)
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
