"""Which of several captions says best what all of them say.

Legend: C captions of the index, n candidates, G grams, E (caption, gram) pairs that occur.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from captionlab.models.retrieval.index import CaptionIndex, spans

Score = Literal["cider", "bleu"]

ORDERS = 4
SIGMA = 6.0  # words: CIDEr-D's penalty on a difference in length
# coco-caption's guards against division by zero
SMALL, TINY = 1e-9, 1e-15


class Grams(NamedTuple):
    """The n-grams of one order in the captions of an index."""

    first: Tensor  # (C+1,) int64: the pairs of each caption
    gram: Tensor  # (E,) int64 number of the n-gram
    times: Tensor  # (E,) float32: how often the caption has it
    idf: Tensor  # (G,) float32
    norm: Tensor  # (C,) float32: length of the caption's TF-IDF vector


class Consensus:
    """How alike the captions of an index are, by CIDEr-D or BLEU-4 of their token ids.

    The inverse document frequencies of CIDEr-D are those of the index: a document are the captions
    of one image. Everything is counted once.
    """

    def __init__(self, index: CaptionIndex) -> None:
        index.require_sound()
        self._lengths = index.first_token.diff().long()
        self._orders = list(_count(index))

    def best(self, candidates: Tensor, *, score: Score, count: int) -> Tensor:
        """Return the places (n,) of candidate captions (n,), the one in best consensus first.

        Consensus is the mean similarity to the ``count`` other candidates that are most similar
        (Devlin et al. 2015, equation 1, but a caption is no witness for itself). Of equal ones the
        first is first.
        """
        if len(candidates) < 2:
            return torch.zeros_like(candidates)
        similar = self.similarities(candidates, score)
        similar.fill_diagonal_(-torch.inf)
        others = min(count, len(candidates) - 1)
        mean = similar.topk(others, dim=1).values.mean(1)
        return mean.argsort(descending=True, stable=True)

    def similarities(self, candidates: Tensor, score: Score) -> Tensor:
        """Return the score (n,n) of each candidate, with each other one as its only reference.

        Of a candidate with itself it is 0.
        """
        similar = self._cider(candidates) if score == "cider" else self._bleu(candidates)
        return similar.fill_diagonal_(0.0)

    def _cider(self, candidates: Tensor) -> Tensor:
        """Return CIDEr-D (n,n), 0..10 (Vedantam et al. 2015)."""
        lengths = (self._lengths[candidates] - 1).clamp_min(0).float()
        penalty = (-((lengths[:, None] - lengths) ** 2) / (2 * SIGMA**2)).exp()
        total = torch.zeros_like(penalty)
        for grams in self._orders:
            counts, columns = _counts(grams, candidates)
            squares = grams.idf[columns] ** 2
            norm = grams.norm[candidates]
            product = torch.zeros_like(penalty)
            # min(a, b) b = sum over t of [a >= t] [b >= t] b
            for at_least in _levels(counts):
                product += at_least @ (at_least * counts * squares).T
            norms = norm[:, None] * norm
            total += torch.where(norms > 0, product / norms, 0.0)
        return total * penalty * (10.0 / ORDERS)

    def _bleu(self, candidates: Tensor) -> Tensor:
        """Return BLEU-4 (n,n) with coco-caption's smoothing (Papineni et al. 2002)."""
        lengths = self._lengths[candidates].float()
        precision = torch.ones(len(candidates), len(candidates), device=lengths.device)
        precision = precision.double()  # products of TINY
        for order, grams in enumerate(self._orders):
            counts, _ = _counts(grams, candidates)
            matches = torch.zeros_like(precision)
            for at_least in _levels(counts):
                matches += at_least @ at_least.T
            guesses = (lengths - order).clamp_min(0).double()
            precision *= (matches + TINY) / (guesses[:, None] + SMALL)
        ratio = (lengths[:, None].double() + TINY) / (lengths.double() + SMALL)
        brevity = (1 - 1 / ratio.clamp_max(1)).exp()
        return (precision ** (1 / ORDERS) * brevity).float()


def _counts(grams: Grams, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Return how often candidates have the grams (n,g) that two of them share, and these (g,)."""
    pairs, place = spans(grams.first, candidates)
    columns, column, owners = grams.gram[pairs].unique(return_inverse=True, return_counts=True)
    shared = owners > 1
    number = shared.cumsum(0) - 1
    kept = shared[column]
    counts = torch.zeros(len(candidates), int(shared.sum()), device=pairs.device)
    counts[place[kept], number[column[kept]]] = grams.times[pairs[kept]]
    return counts, columns[shared]


def _levels(counts: Tensor) -> Iterator[Tensor]:
    """Yield where counts are at least 1, at least 2, and so on (n,g)."""
    most = int(counts.max()) if counts.numel() else 0
    for level in range(1, most + 1):
        yield (counts >= level).float()


def _count(index: CaptionIndex) -> Iterator[Grams]:
    """Yield the n-grams of orders 1 to 4 of an index's captions."""
    tokens, first = index.tokens.long(), index.first_token.long()
    device, captions = tokens.device, len(first) - 1
    owner = torch.arange(captions, device=device).repeat_interleave(first.diff())
    images = len(index.first_caption) - 1
    image = torch.arange(images, device=device).repeat_interleave(index.first_caption.long().diff())
    left = first[1:][owner] - torch.arange(len(tokens), device=device)  # tokens from here on
    gram = torch.zeros_like(tokens)
    for order in range(ORDERS):
        begins = (left > order).nonzero().squeeze(1)
        keys = gram[begins] * index.vocabulary_size + tokens[begins + order]
        distinct, number = keys.unique(return_inverse=True)
        gram[begins] = number
        yield _pairs(owner[begins], number, max(1, len(distinct)), image, images)


def _pairs(owner: Tensor, gram: Tensor, grams: int, image: Tensor, images: int) -> Grams:
    """Return the pairs of captions (w,) and their grams (w,); ``image`` (C,) has each caption."""
    pair, count = (owner * grams + gram).unique(return_counts=True)
    caption, number = pair // grams, pair % grams
    documents = (image[caption] * grams + number).unique() % grams
    frequency = torch.bincount(documents, minlength=grams).clamp_min(1)
    idf = math.log(images) - frequency.float().log()
    weight = (count * idf[number]) ** 2
    norm = weight.new_zeros(len(image)).index_add(0, caption, weight).sqrt()
    captions = torch.arange(len(image) + 1, device=pair.device)
    first = torch.searchsorted(caption.contiguous(), captions)
    return Grams(first, number, count.float(), idf, norm)
