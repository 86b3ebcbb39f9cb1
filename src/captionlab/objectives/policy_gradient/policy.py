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
from captionlab.objectives.policy_gradient.token_nll import BANNED_LOGIT, token_nll


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
    logits, mask = _all_logits(captioner, memory, captions, prompts)
    never, first, eos_id = _never_drawn(captioner, mask)
    ids = torch.arange(logits.shape[-1], device=logits.device)
    banned = torch.isin(ids, never) | (first.unsqueeze(-1) & (ids == eos_id))
    return logits.float().masked_fill(banned, BANNED_LOGIT), mask


def _all_logits(
    captioner: Captioner, memory: Memory, captions: Generated, prompts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the captioner's logits (M,V) of captions' own tokens, and their mask (B,K,T)."""
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
    return captioner.logits(captioner.decoder(memory, inputs).hidden[real]), mask


def _never_drawn(captioner: Captioner, mask: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the ids (n,) that are never drawn, the tokens (M,) at which eos is not, and eos."""
    special = special_ids(captioner)
    ids = [special["bos_id"], special["pad_id"], *special["banned_ids"]]
    first = torch.zeros_like(mask)
    first[..., :1] = True
    return torch.tensor(ids, device=mask.device), first[mask], special["eos_id"]


def sequence_log_probs(
    captioner: Captioner,
    memory: Memory,
    captions: Generated,
    temperature: float = 1.0,
    prompts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-probability (B,K) of whole captions, with gradient, and their tokens (B,K).

    The logits are divided by ``temperature``, as they were when the captions were drawn, and what is
    never drawn has no probability (``sampled_logits``); ``prompts`` (B,1,P) are given before the
    captions of an image.
    """
    logits, mask = _all_logits(captioner, memory, captions, prompts)
    nll = token_nll(logits, captions.tokens[mask], *_never_drawn(captioner, mask), temperature)
    lengths = captions.lengths
    owner = torch.arange(lengths.numel(), device=nll.device).view_as(lengths)
    total = nll.new_zeros(lengths.numel()).index_add(0, owner[..., None].expand_as(mask)[mask], nll)
    return -total.view_as(lengths), lengths
