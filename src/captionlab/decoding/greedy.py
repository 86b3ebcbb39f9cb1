"""The most probable token at every step, and the loop that sampling shares with it.

Legend: B images, T tokens, N memory slots, V vocabulary, W captions an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.constraints import Encode, GenerationConstraints, LogitsProcessor
from captionlab.decoding.generated import (
    Generated,
    MemoryT,
    StateT,
    StepModel,
    all_finished,
    longest,
)


@dataclass(frozen=True)
class Greedy(GenerationConstraints):
    """Takes the most probable token that the limits allow at every step: one caption an image."""

    def __call__(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int] = (),
        encode: Encode | None = None,
    ) -> Generated:
        """Return one caption an image (W=1); no caption holds bos, pad or a banned id."""
        processor = self.logits_processor(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
            encode=encode,
            device=memory.pooled.device,
        )
        return roll_out(
            model,
            model.init_state(memory, 1),
            most_probable,
            processor,
            first=torch.full((len(memory.pooled), 1), bos_id, device=memory.pooled.device),
            max_length=self.max_length,
            pad_id=pad_id,
        )


def most_probable(logits: Tensor) -> Tensor:
    """Return the ids (B,W) of the largest logits (B,W,V)."""
    # topk as in the beam search: half-precision logits tie often, and both must break ties alike
    return logits.topk(1, dim=-1).indices.squeeze(-1)


@torch.no_grad()
def roll_out(
    model: StepModel[MemoryT, StateT],
    state: StateT,
    choose: Callable[[Tensor], Tensor],
    processor: LogitsProcessor,
    *,
    first: Tensor,
    max_length: int,
    pad_id: int,
) -> Generated:
    """Return captions grown each by itself, in the order of their hypotheses.

    ``state`` is the model's at the start, ``first`` (B,W) the bos tokens, ``choose`` takes allowed
    float32 logits (B,W,V) and returns ids (B,W). Where a model leaves no token possible (all logits
    -inf, or one NaN), the caption ends with log-probability -inf.
    """
    token = first
    unfinished = torch.ones_like(token, dtype=torch.bool)
    lengths = torch.zeros_like(token)
    log_probs = torch.zeros(token.shape, device=token.device)
    tokens: list[Tensor] = []
    weights: list[Tensor] = []
    for step in range(max_length):
        logits, state = model.step(token, state)
        history = torch.stack(tokens, -1) if tokens and processor.needs_history else None
        allowed = processor(logits, step, history)
        token = choose(allowed)
        log_prob = token_log_prob(logits, allowed, token)
        token = token.masked_fill(log_prob == -torch.inf, processor.eos_id)
        log_probs = log_probs + log_prob.masked_fill(~unfinished, 0.0)
        lengths = lengths + unfinished
        tokens.append(token.masked_fill(~unfinished, pad_id))
        if state.weights is not None:
            weights.append(state.weights * unfinished[..., None])
        unfinished = unfinished & (token != processor.eos_id)
        if all_finished(step, unfinished):
            break
    return _stack(tokens, lengths, log_probs, weights)


def _stack(
    tokens: list[Tensor], lengths: Tensor, log_probs: Tensor, weights: list[Tensor]
) -> Generated:
    """Return the captions of the steps' tokens (B,W) and weights (B,W,N)."""
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
