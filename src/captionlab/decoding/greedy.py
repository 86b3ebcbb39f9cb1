"""The most probable token at every step, and the loop that sampling shares with it.

Legend: B images, T tokens, N memory slots, V vocabulary, W captions an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.constraints import ban, never_ids, require_length
from captionlab.decoding.generated import (
    BatchMemory,
    Generated,
    StepModel,
    check_lengths,
    longest,
    may_stop,
)


@dataclass(frozen=True)
class Greedy:
    """Takes the most probable token at every step: one caption an image.

    ``max_length``: most tokens of a caption, eos counted; a longer one is cut there, without eos.
    ``min_length``: fewest words before eos. UserError for a value that cannot be.
    """

    max_length: int = 20
    min_length: int = 1

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.max_length)

    def __call__(
        self,
        model: StepModel,
        memory: BatchMemory,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int] = (),
    ) -> Generated:
        """Return one caption an image (W=1); no caption holds bos, pad or a banned id."""
        return roll_out(
            model,
            memory,
            most_probable,
            width=1,
            max_length=self.max_length,
            min_length=self.min_length,
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
        )


def most_probable(logits: Tensor) -> Tensor:
    """Return the ids (B,W) of the largest logits (B,W,V)."""
    # topk as in the beam search: half-precision logits tie often, and both must break ties alike
    return logits.topk(1, dim=-1).indices.squeeze(-1)


@torch.no_grad()
def roll_out(
    model: StepModel,
    memory: BatchMemory,
    choose: Callable[[Tensor], Tensor],
    *,
    width: int,
    max_length: int,
    min_length: int,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    banned_ids: Sequence[int],
) -> Generated:
    """Return ``width`` captions an image, each grown by itself in the order of its hypothesis.

    ``choose`` takes allowed float32 logits (B,W,V) and returns ids (B,W). Where a model leaves no
    token possible (all logits -inf, or one NaN), the caption ends with log-probability -inf.
    """
    images, device = len(memory.pooled), memory.pooled.device
    banned = never_ids(
        bos_id=bos_id, eos_id=eos_id, pad_id=pad_id, banned_ids=banned_ids, device=device
    )
    state = model.start(memory, width)
    token = torch.full((images, width), bos_id, device=device)
    undone = torch.ones_like(token, dtype=torch.bool)
    lengths = torch.zeros_like(token)
    log_probs = torch.zeros((images, width), device=device)
    tokens: list[Tensor] = []
    weights: list[Tensor] = []
    for step in range(max_length):
        logits, state = model.step(token, state)
        allowed = require_length(
            ban(logits, banned), words=step, min_length=min_length, eos_id=eos_id
        )
        token = choose(allowed)
        log_prob = token_log_prob(logits, allowed, token)
        token = token.masked_fill(log_prob == -torch.inf, eos_id)
        log_probs = log_probs + log_prob.masked_fill(~undone, 0.0)
        lengths = lengths + undone
        tokens.append(token.masked_fill(~undone, pad_id))
        if state.weights is not None:
            weights.append(state.weights * undone[..., None])
        undone = undone & (token != eos_id)
        if may_stop(step, undone):
            break
    end = longest(lengths)
    return Generated(
        tokens=torch.stack(tokens, dim=2)[:, :, :end],
        lengths=lengths,
        scores=log_probs,
        log_probs=log_probs,
        weights=torch.stack(weights, dim=2)[:, :, :end] if weights else None,
    )


def token_log_prob(logits: Tensor, allowed: Tensor, token: Tensor) -> Tensor:
    """Return the model's log-probability (B,W) of ``token``, -inf where it is not allowed.

    ``logits`` (B,W,V) float32 as the model gave them, ``allowed`` (B,W,V) after the constraints.
    """
    chosen = allowed.gather(-1, token[..., None]).squeeze(-1)
    log_prob = chosen - logits.logsumexp(-1)
    return log_prob.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
