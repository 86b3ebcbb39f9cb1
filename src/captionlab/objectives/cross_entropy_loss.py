"""Mean cross-entropy over a vocabulary, whose gradient is computed beside it on a CPU.

Legend: M tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from captionlab.core.rows import row_parts


def cross_entropy(
    logits: Tensor, targets: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the mean smoothed loss of targets (M,), and the plain one without a gradient, in nats.

    ``logits`` (M,V); both are float32 at least, and what ``F.cross_entropy`` gives. On a CPU the
    passes over the vocabulary are made while a part of it is in the cache, and one buffer of (M,V),
    in the type of the logits, is all that is kept.
    """
    # float16's gradient needs the scale of its loss before it is rounded
    elsewhere = logits.device.type != "cpu" or logits.dtype == torch.float16
    if elsewhere or torch.compiler.is_compiling() or not len(targets):
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        plain = F.cross_entropy(logits.detach(), targets) if label_smoothing else loss.detach()
        return loss, plain
    loss, plain = _CrossEntropy.apply(logits, targets, label_smoothing)
    return loss, plain


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, label_smoothing: float
    ) -> tuple[Tensor, Tensor]:
        count, vocabulary = logits.shape
        dtype = torch.promote_types(logits.dtype, torch.float32)
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        nll = torch.empty(count, dtype=dtype)
        uniform = torch.zeros((), dtype=dtype)  # the loss against a uniform distribution, summed up
        for part in row_parts(logits):
            log_probs = logits[part].log_softmax(1, dtype=dtype)
            target = targets[part].unsqueeze(1)
            chosen = log_probs.gather(1, target)
            nll[part] = -chosen.squeeze(1)
            if label_smoothing:
                uniform -= log_probs.sum() / vocabulary
            if gradient is not None:
                probs = log_probs.exp_()
                if label_smoothing:
                    probs -= label_smoothing / vocabulary
                probs.scatter_add_(1, target, torch.full_like(chosen, label_smoothing - 1))
                torch.mul(probs, 1 / count, out=gradient[part])
        ctx.save_for_backward(gradient)
        plain = nll.mean()
        loss = (1 - label_smoothing) * plain + label_smoothing * uniform / count
        ctx.mark_non_differentiable(plain)
        return loss, plain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient if grad == 1 else gradient * grad.to(gradient.dtype), None, None
