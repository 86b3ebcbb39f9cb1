"""The captioner as a policy: what samples are drawn from, and with which probabilities.

Legend: B images, K samples an image, T tokens, M real tokens of all samples, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.memory import Memory
from captionlab.core.special_tokens import SpecialTokens
from captionlab.decoding.generated import Generated
from captionlab.models.captioner import Captioner
from captionlab.models.likelihood import shift
from captionlab.models.state import State

BANNED_LOGIT = (
    -1e9
)  # finite: the Gumbel noise of what cannot be drawn is a difference of such numbers


class SpecialIds(TypedDict):
    """The ids that decoding asks for."""

    bos_id: int
    eos_id: int
    pad_id: int
    banned_ids: tuple[int, ...]


def special_ids(captioner: Captioner) -> SpecialIds:
    """Return the ids that decoding asks for."""
    return {
        "bos_id": SpecialTokens.BOS,
        "eos_id": SpecialTokens.EOS,
        "pad_id": captioner.decoder.pad_id,
        "banned_ids": (SpecialTokens.UNK, *captioner.control_ids),
    }


class DeterministicStepModel:
    """A captioner's ``init_state`` and ``step`` alone: a latent stays at its prior's mean."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner

    def init_state(self, memory: Memory, width: int) -> State:
        """Return the state before the first token."""
        return self._captioner.init_state(memory, width)

    def step(self, token_ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return logits (B,W,V) and the next state."""
        return self._captioner.step(token_ids, state)


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Let a module answer as in evaluation, and still be differentiable on a GPU.

    cuDNN's recurrent layers refuse a backward pass in evaluation: they stay in training, with their
    own dropout at 0.
    """
    was_training = [(part, part.training) for part in module.modules()]
    dropouts = [(part, part.dropout) for part, _ in was_training if isinstance(part, nn.RNNBase)]
    try:
        for part, _ in was_training:
            part.training = isinstance(part, nn.RNNBase)
        for recurrent, _ in dropouts:
            recurrent.dropout = 0.0
        yield
    finally:
        for part, training in was_training:
            part.training = training
        for recurrent, dropout in dropouts:
            recurrent.dropout = dropout


@dataclass
class SampledTokens:
    """Sampled captions as teacher forcing reads them, of the fields of ``CaptionTokens``."""

    tokens: Tensor
    lengths: Tensor
    prompts: Tensor | None


def sampled_logits(
    captioner: Captioner, memory: Memory, captions: Generated, prompts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits (M,V) of captions' own tokens, with gradient, and their mask (B,K,T).

    Computed teacher-forced in one pass: only tokens of the captions reach the vocabulary. What is
    never drawn (bos, padding, the unknown word, the end of an empty caption) has no probability
    here either: else what is rewarded less would raise a word that is never drawn. ``prompts``
    (B,1,P) are given before the captions of an image.
    """
    special = special_ids(captioner)
    tokens = captions.tokens
    steps = torch.arange(tokens.shape[-1], device=tokens.device)
    mask = steps < captions.lengths[..., None]
    given = None if prompts is None else prompts.expand(-1, tokens.shape[1], -1)
    # a caption that could not be had has no token, and so no bos
    lengths = captions.lengths + (captions.lengths > 0)
    behind_bos = F.pad(tokens, (1, 0), value=special["bos_id"])
    sampled = SampledTokens(behind_bos, lengths, given)
    inputs, _, real = shift(sampled, special["pad_id"])
    logits = captioner.logits(captioner.decoder(memory, inputs).hidden[real]).float()
    ids = torch.arange(logits.shape[-1], device=logits.device)
    never = [special["bos_id"], special["pad_id"], *special["banned_ids"]]
    banned = torch.isin(ids, torch.tensor(never, device=ids.device))
    first = (steps == 0).expand(mask.shape)[mask].unsqueeze(-1)
    return logits.masked_fill(banned | (first & (ids == special["eos_id"])), BANNED_LOGIT), mask


def sequence_log_probs(
    captioner: Captioner,
    memory: Memory,
    captions: Generated,
    temperature: float = 1.0,
    prompts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-probability (B,K) of whole captions, with gradient, and their tokens (B,K).

    The logits are divided by ``temperature``, as they were when the captions were drawn; ``prompts``
    (B,1,P) are given before those of an image.
    """
    logits, mask = sampled_logits(captioner, memory, captions, prompts)
    logits = logits / temperature
    lengths = captions.lengths
    nll = F.cross_entropy(logits, captions.tokens[mask], reduction="none")
    owner = torch.arange(lengths.numel(), device=nll.device).view_as(lengths)
    total = nll.new_zeros(lengths.numel()).index_add(0, owner[..., None].expand_as(mask)[mask], nll)
    return -total.view_as(lengths), lengths
