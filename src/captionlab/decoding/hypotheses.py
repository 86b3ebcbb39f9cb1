"""What a beam search keeps: extensions of hypotheses, finished captions, the way back.

Legend: B images, W beams, K captions kept an image, N memory slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captionlab.decoding.generated import Generated, image_index, longest
from captionlab.decoding.logits import largest
from captionlab.decoding.unfinished import in_batch

_NAMES = ("scores", "log_probs", "lengths", "places")  # the fields of FinishedHypotheses


def extend(
    live: Tensor, allowed: Tensor, cost: Tensor | None = None, width: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the W best one-token extensions of each image: log-probabilities, parents, tokens.

    All (B,W), best first; ``width`` asks for fewer than there are beams. ``live`` (B,W):
    log-probabilities of the hypotheses so far, ``allowed`` (B,W,V) the log-probabilities of the next
    tokens after the constraints, or (B,1,V) where all beams have the same; ``cost`` (B,1,V) what a
    token costs in the choice, but not in the log-probability. -inf marks an extension that is not
    possible, also where a row of the model's logits held NaN.
    """
    beams, vocabulary = live.shape[1], allowed.shape[-1]
    width = beams if width is None else width
    # the W best of an image are among the W best of each of its beams: no (B, W*V) tensor is made
    values, ids = largest(allowed if cost is None else allowed - cost, min(width, vocabulary))
    ranks = (live[..., None] + values).nan_to_num_(nan=-torch.inf, neginf=-torch.inf)
    log_probs, order = ranks.flatten(1).topk(width, dim=-1)
    parents = order // ids.shape[-1]
    tokens = ids.expand_as(ranks).flatten(1).gather(1, order)
    if cost is not None:
        log_probs = log_probs + cost.squeeze(1).gather(1, tokens)
    return log_probs, parents, tokens


@dataclass(frozen=True)
class FinishedHypotheses:
    """The best complete captions of each image so far, all (B,K), best first.

    A caption is the extension ``places`` of the step ``lengths`` - 1; a free place has score -inf
    and length 0.
    """

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    places: Tensor

    @classmethod
    def none(cls, images: int, captions: int, device: torch.device) -> FinishedHypotheses:
        """Return K free places an image."""
        impossible = torch.full((images, captions), -torch.inf, device=device)
        nothing = torch.zeros((images, captions), dtype=torch.long, device=device)
        return cls(impossible, impossible, nothing, nothing)

    def take(self, images: Tensor) -> FinishedHypotheses:
        """Return the captions of the images with these indices, in this order."""
        return self._each(lambda own: own[images])

    def put(self, images: Tensor, found: FinishedHypotheses) -> FinishedHypotheses:
        """Return the captions with those of the images with these indices replaced by ``found``."""
        return FinishedHypotheses(
            *(getattr(self, n).index_copy(0, images, getattr(found, n)) for n in _NAMES)
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> FinishedHypotheses:
        return FinishedHypotheses(*(change(getattr(self, name)) for name in _NAMES))

    @classmethod
    def together(cls, several: Sequence[FinishedHypotheses]) -> FinishedHypotheses:
        """Return the captions of several, side by side."""
        return cls(*(torch.cat([getattr(one, name) for one in several], 1) for name in _NAMES))

    def ranked(self, count: int, first: Tensor | None = None) -> FinishedHypotheses:
        """Return the ``count`` best: those larger in ``first`` (B,K) before the better scored.

        Free places come last.
        """
        order = self.scores.argsort(dim=1, descending=True, stable=True)
        if first is not None:
            real = self.lengths > 0
            order = order.gather(
                1, (first * real).gather(1, order).argsort(dim=1, descending=True, stable=True)
            )
        order = order[:, :count]
        return self._each(lambda own: own.gather(1, order))

    def merge(
        self, log_probs: Tensor, length: int, penalty: float, first: int = 0
    ) -> FinishedHypotheses:
        """Return the K best of these and of the extensions (B,W), -inf where they are not ended.

        The extensions' places count from ``first``.
        """
        ended = log_probs > -torch.inf
        places = torch.arange(log_probs.shape[1], device=log_probs.device).expand_as(log_probs)
        places = places + first
        scores = torch.cat([self.scores, log_probs / penalty], dim=1)
        # stable: the earlier of two equal captions stays, so stopping early changes nothing
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        keep = (image_index(order), order[:, : self.scores.shape[1]])
        return FinishedHypotheses(
            scores=scores[:, : self.scores.shape[1]],
            log_probs=torch.cat([self.log_probs, log_probs], dim=1)[keep],
            lengths=torch.cat([self.lengths, ended * length], dim=1)[keep],
            places=torch.cat([self.places, places], dim=1)[keep],
        )


@dataclass
class Backpointers:
    """The extensions of every step: one list entry a step, so nothing is copied as beams reorder.

    ``tokens`` and ``parents`` (b,W): token of each extension and the beam it extends; ``weights``
    (b,W,N) belong to the beams before they are extended. ``images`` (b,) tells whose they are, None
    for all B in order.
    """

    tokens: list[Tensor] = field(default_factory=list)
    parents: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    images: list[Tensor | None] = field(default_factory=list)

    def add(
        self, tokens: Tensor, parents: Tensor, weights: Tensor | None, images: Tensor | None = None
    ) -> None:
        """Append one step."""
        self.tokens.append(tokens)
        self.parents.append(parents)
        self.images.append(images)
        if weights is not None:
            self.weights.append(weights)

    def captions(self, best: FinishedHypotheses, pad_id: int) -> Generated:
        """Return the captions found by following parents back from the end of each."""
        place, count = best.places, len(best.places)
        tokens: list[Tensor] = []
        weights: list[Tensor] = []
        for step in reversed(range(len(self.tokens))):
            images = self.images[step]
            own = place if images is None else place[images]
            inside = step < best.lengths
            # an image that was laid aside has no caption that reaches this step
            token = in_batch(self.tokens[step].gather(1, own), images, count)
            parent = in_batch(self.parents[step].gather(1, own), images, count)
            tokens.append(token.masked_fill(~inside, pad_id))
            if self.weights:
                among = parent if images is None else parent[images]
                attended = self.weights[step][image_index(among), among]
                weights.append(in_batch(attended, images, count) * inside[..., None])
            place = torch.where(inside, parent, place)
        end = longest(best.lengths)
        return Generated(
            tokens=torch.stack(tokens[::-1], dim=2)[:, :, :end],
            lengths=best.lengths,
            scores=best.scores,
            log_probs=best.log_probs,
            weights=torch.stack(weights[::-1], dim=2)[:, :, :end] if weights else None,
        )
