"""The scores of additive attention, the slowest part of a step, with their own gradient.

Legend: B images, Q queries an image, N memory slots, A attention width.
"""

from __future__ import annotations

import itertools
import math
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
        split = _Split(query, ctx.keys)
        for terms, out in zip(split.terms(), split.queries(scores), strict=True):
            torch.mv(terms.flatten(0, 2), score, out=out.view(-1))
        return scores.mul_(-2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        query, score = ctx.saved_tensors
        d_query, d_score = torch.empty_like(query), torch.zeros_like(score)
        split = _Split(query, ctx.keys)
        parts = (split.terms(), split.queries(grad.contiguous()), split.queries(d_query))
        d_keys = split.images(ctx.sums.begin(score, len(query)))
        for terms, g, d_q, d_k in zip(*parts, d_keys, strict=True):
            d_score.addmv_(terms.flatten(0, 2).t(), g.view(-1))
            # exp(2q) exp(2k) terms = 1 - terms, so one tensor serves both:
            # d score / d exp(2q) = 2 v exp(2k) terms^2 = 2 v (terms - terms^2) / exp(2q)
            torch.addcmul(terms, terms, terms, value=-1, out=terms)
            for some, weight in zip(terms.unbind(1), g.unsqueeze(-1).unbind(1), strict=True):
                d_k.addcmul_(some, weight)  # one pass, where multiply and sum would take two
            _weigh(g, terms, d_q)
        return d_query.mul_(2 * score).div_(query), None, d_score.mul_(-2), None


def _weigh(weights: Tensor, terms: Tensor, out: Tensor) -> None:
    """Write the sums (b, k, A) over the slots of terms (b, k, N, A) times weights (b, k, N)."""
    if terms.device.type == "cpu" and len(terms) == 1:  # three times as fast as bmm there
        for w, t, o in zip(weights[0], terms[0], out[0], strict=True):
            torch.mv(t.t(), w, out=o)
    else:
        torch.sum(terms.mul_(weights.unsqueeze(-1)), 2, out=out)


class _Split:
    """Images, and queries of one image, of which the terms are computed together."""

    def __init__(self, query: Tensor, keys: Tensor) -> None:
        self._query, self._keys = query, keys
        self._queries = query.shape[1]
        fitting = _CHUNK.get(query.device.type, _DEVICE_CHUNK) // keys[:1].numel()
        # a part is contiguous: all queries of several images, or some of one image
        self._several = max(1, fitting // self._queries)
        self._some = min(self._queries, max(1, fitting))

    def queries(self, values: Tensor) -> Iterator[Tensor]:
        """Yield the parts (b, k, ...) of values (B, Q, ...)."""
        for images in values.split(self._several):
            yield from images.split(self._some, 1)

    def images(self, values: Tensor) -> Iterator[Tensor]:
        """Yield the images (b, ...) of each part, of values (B, ...)."""
        repeats = -(-self._queries // self._some)
        for images in values.split(self._several):
            yield from itertools.repeat(images, repeats)

    def terms(self) -> Iterator[Tensor]:
        """Yield 1 / (1 + exp(2q) exp(2k)) (b, k, N, A) of each part; the next one overwrites it."""
        one, buffer = self._query.new_ones(()), self._query.new_empty(0)
        keys = self.images(self._keys.unsqueeze(1))
        for q, k in zip(self.queries(self._query.unsqueeze(2)), keys, strict=True):
            shape = (*q.shape[:2], *k.shape[2:])
            if not len(buffer):  # the first part is the largest
                buffer = q.new_empty(math.prod(shape))
            terms = buffer[: math.prod(shape)].view(shape)
            yield torch.addcmul(one, q, k, out=terms).reciprocal_()
