"""The scores of additive attention, the slowest part of a step, with their own gradient.

Legend: B images, Q queries an image, N memory slots, A attention width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from captionlab.models.attention.shared import GradientSum, Shared

# elements of the working buffer: 1 MB stays in the cache of a CPU's core, 256 MB keep a GPU busy
_CHUNK = {"cpu": 1 << 18}
_DEVICE_CHUNK = 1 << 26


def additive_scores(query: Tensor, keys: Tensor | Shared, score: Tensor) -> Tensor:
    """Return sum_a score[a] * (tanh(q + k)[a] - 1), as (B, Q, N), from exp(2q) and exp(2k).

    ``query`` is exp(2q) (B, Q, A), ``keys`` exp(2k) (B, N, A), ``score`` (A,). By
    tanh(q + k) = 1 - 2 / (1 + exp(2q) exp(2k)) one division stands for each tanh, about ten times
    as fast on a CPU; the missing constant sum(score) is nothing to a softmax. The (B, Q, N, A)
    terms are computed again for the gradient and never kept.
    """
    # mixed precision would make the scores half precision, and the gradient's types disagree
    with torch.autocast(query.device.type, enabled=False):
        score = score.to(query.dtype)
        if torch.compiler.is_exporting():  # a number of chunks would fix the number of images
            assert isinstance(keys, Tensor)
            terms = (query.unsqueeze(2) * keys.unsqueeze(1) + 1).reciprocal()
            return -2 * (terms @ score)
        shared = keys if isinstance(keys, Shared) else share_keys(keys)
        scores: Tensor = _AdditiveScores.apply(query, shared.edge, score, shared)
    return scores


def share_keys(keys: Tensor) -> Shared:
    """Return keys exp(2k) (B, N, A) as all steps of a loop read them."""
    return Shared(keys, _KeyGradient(keys.detach()))


class _KeyGradient(GradientSum):
    """The gradient of exp(2k), of which the steps add what 2 score / exp(2k) has to multiply."""

    def __init__(self, keys: Tensor) -> None:
        self._keys = keys
        self._sum: Tensor | None = None
        self._score: Tensor | None = None

    def begin(self, score: Tensor, rows: int) -> Tensor:
        """Return where a step adds what is of the first ``rows`` images (rows, N, A)."""
        if self._sum is None:
            self._sum, self._score = torch.zeros_like(self._keys), score
        return self._sum[:rows]

    def collect(self) -> Tensor | None:
        """Return the gradient (B, N, A), None where no step left any, and begin anew."""
        if self._sum is None or self._score is None:
            return None
        gradient = self._sum.mul_(2 * self._score).div_(self._keys)
        self._sum = None
        return gradient


class _AdditiveScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, edge: Tensor, score: Tensor, shared: Shared) -> Tensor:
        ctx.save_for_backward(query, score)
        ctx.keys, ctx.sums = shared.value, shared.sums
        scores = query.new_empty(*query.shape[:2], ctx.keys.shape[1])
        for part in _parts(query, ctx.keys):
            terms = _terms(query[part], ctx.keys[part[0]])
            scores[part] = (terms.flatten(0, 2) @ score).view(terms.shape[:3])
        return scores.mul_(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        query, score = ctx.saved_tensors
        d_query, d_score = torch.empty_like(query), torch.zeros_like(score)
        d_keys = ctx.sums.begin(score, len(query))
        for part in _parts(query, ctx.keys):
            q, g = query[part], grad[part]
            terms = _terms(q, ctx.keys[part[0]])
            d_score.addmv_(terms.flatten(0, 2).t(), g.reshape(-1))
            # as exp(2q) exp(2k) terms = 1 - terms, one product serves both
            # d score / d exp(2q) = 2 v exp(2k) terms^2 = 2 v (terms - terms^2) / exp(2q), and d exp(2k)
            torch.addcmul(terms, terms, terms, value=-1, out=terms)
            for index in range(q.shape[1]):  # one pass, where multiply and sum would take two
                d_keys[part[0]].addcmul_(terms[:, index], g[:, index].unsqueeze(-1))
            d_query[part] = (g.unsqueeze(2) @ terms).squeeze(2)
        return d_query.mul_(2 * score).div_(query), None, d_score.mul_(-2), None


def _parts(query: Tensor, keys: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield which images, and which of their queries, are computed together."""
    images, queries, width = query.shape
    limit = _CHUNK.get(query.device.type, _DEVICE_CHUNK)
    fitting = limit // (keys.shape[1] * width)
    several, some = max(1, fitting // queries), min(queries, max(1, fitting))
    for image in range(0, images, several):
        for start in range(0, queries, some):
            yield slice(image, image + several), slice(start, start + some)


def _terms(query: Tensor, keys: Tensor) -> Tensor:
    """Return 1 / (1 + exp(2q) exp(2k)) (B, Q, N, A)."""
    one = query.new_ones(())
    return torch.addcmul(one, query.unsqueeze(2), keys.unsqueeze(1)).reciprocal_()
