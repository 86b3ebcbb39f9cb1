"""The scores of additive attention, the slowest part of a step, with their own gradient.

Legend: B images, Q queries an image, N memory slots, A attention width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# elements of the working buffer: 8 MB stay in a CPU's last cache, 256 MB keep a GPU busy
_CHUNK = {"cpu": 1 << 21}
_DEVICE_CHUNK = 1 << 26


def additive_scores(query: Tensor, keys: Tensor, score: Tensor) -> Tensor:
    """Return sum_a score[a] * (tanh(q + k)[a] - 1), as (B, Q, N), from exp(2q) and exp(2k).

    ``query`` is exp(2q) (B, Q, A), ``keys`` exp(2k) (B, N, A), ``score`` (A,). By
    tanh(q + k) = 1 - 2 / (1 + exp(2q) exp(2k)) one division stands for each tanh, about ten times
    as fast on a CPU; the missing constant sum(score) is nothing to a softmax. The (B, Q, N, A)
    terms are computed again for the gradient and never kept.
    """
    # mixed precision would make the scores half precision, and the gradient's types disagree
    with torch.autocast(query.device.type, enabled=False):
        scores: Tensor = _AdditiveScores.apply(query, keys, score.to(query.dtype))
    return scores


class _AdditiveScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, score: Tensor) -> Tensor:
        ctx.save_for_backward(query, keys, score)
        scores = [_reciprocals(query[part], keys[part]) @ score for part in _parts(query, keys)]
        return torch.cat(scores).mul_(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, keys, score = ctx.saved_tensors
        d_query, d_keys = torch.empty_like(query), torch.zeros_like(keys)
        d_score = torch.zeros_like(score)
        for part in _parts(query, keys):
            q, k, g = query[part], keys[part], grad[part]
            terms = _reciprocals(q, k)
            d_score += g.reshape(-1) @ terms.flatten(0, 2)
            # d score / d exp(2q) = 2 v exp(2k) terms^2, and the same with q and k exchanged
            terms.square_().mul_(g.unsqueeze(-1))
            for index in range(q.shape[1]):  # one pass, where multiply and sum would take two
                d_keys[part].addcmul_(terms[:, index], q[:, index, None])
            torch.sum(terms.mul_(k.unsqueeze(1)), 2, out=d_query[part])
        scale = 2 * score
        return d_query.mul_(scale), d_keys.mul_(scale), d_score.mul_(-2)


def _parts(query: Tensor, keys: Tensor) -> Iterator[slice]:
    images, queries, width = query.shape
    if torch.compiler.is_exporting():  # a number of parts would fix the number of images
        return iter([slice(None)])
    limit = _CHUNK.get(query.device.type, _DEVICE_CHUNK)
    size = max(1, limit // (queries * keys.shape[1] * width))
    return (slice(start, start + size) for start in range(0, images, size))


def _reciprocals(query: Tensor, keys: Tensor) -> Tensor:
    return (query.unsqueeze(2) * keys.unsqueeze(1)).add_(1).reciprocal_()
