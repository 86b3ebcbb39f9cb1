"""Minus the log-probability of drawn tokens, with a gradient of its own.

Legend: M tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captionlab.core.rows import row_parts

# finite: the Gumbel noise of what cannot be drawn is a difference of such numbers, and the reward of
# a caption that no token could begin is multiplied by it
BANNED_LOGIT = -1e9


def token_nll(
    logits: Tensor, tokens: Tensor, never: Tensor, first: Tensor, eos_id: int, temperature: float
) -> Tensor:
    """Return -log softmax(logits / temperature) of tokens (M,), in nats, float32 at least.

    ``logits`` (M,V); the ids ``never`` (n,) have no probability, nor has eos in the rows ``first``
    (M,) bool. One buffer of (M,V) is kept for the gradient, and one made by it: autograd keeps or
    makes one for each of filling, dividing and normalizing.
    """
    result: Tensor = _TokenNll.apply(logits, tokens, never, first, eos_id, temperature)
    return result


class _TokenNll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        tokens: Tensor,
        never: Tensor,
        first: Tensor,
        eos_id: int,
        temperature: float,
    ) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        log_probs = torch.empty_like(logits, dtype=dtype)
        for part in row_parts(logits):
            allowed = logits[part].to(log_probs.dtype, copy=True)
            allowed.index_fill_(1, never, BANNED_LOGIT)
            allowed[:, eos_id].masked_fill_(first[part], BANNED_LOGIT)
            if temperature != 1:
                allowed /= temperature
            torch.log_softmax(allowed, 1, out=log_probs[part])
        # a banned token that was given nevertheless, as the eos of a caption that nothing could begin,
        # learns nothing
        learns = ~(torch.isin(tokens, never) | (first & (tokens == eos_id)))
        ctx.save_for_backward(log_probs, tokens, learns)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        return -log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        log_probs, tokens, learns = ctx.saved_tensors
        d_logits = torch.empty_like(log_probs, dtype=ctx.dtype)
        scale = (grad / ctx.temperature).unsqueeze(1)
        for part in row_parts(log_probs):
            own = log_probs[part].exp()
            # the softmax, less one for the token that was drawn
            drawn = tokens[part].unsqueeze(1)
            own.scatter_(1, drawn, own.gather(1, drawn) - learns[part].unsqueeze(1).to(own.dtype))
            torch.mul(own, scale[part], out=d_logits[part])
        return d_logits, None, None, None, None, None
