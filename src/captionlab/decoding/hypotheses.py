"""What a beam search keeps: extensions of hypotheses, finished captions, the way back.

Legend: B images, W beams, K captions kept an image, N memory slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captionlab.decoding.generated import Generated, image_index, longest


def extend(
    live: Tensor,
    logits: Tensor,
    allowed: Tensor,
    cost: Tensor | None = None,
    width: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the W best one-token extensions of each image: log-probabilities, parents, tokens.

    All (B,W), best first; ``width`` asks for fewer than there are beams. ``live`` (B,W):
    log-probabilities of the hypotheses so far, ``logits`` (B,W,V) float32 as the model gave them,
    ``allowed`` (B,W,V) after the constraints, ``cost`` (B,1,V) what a token costs in the choice,
    but not in the log-probability. -inf marks an extension that is not possible, also where a row
    of logits holds NaN.
    """
    beams, vocabulary = logits.shape[1:]
    width = beams if width is None else width
    # the W best of an image are among the W best of each of its beams: no (B, W*V) tensor is made
    ranked = allowed if cost is None else allowed - cost
    values, ids = ranked.topk(min(width, vocabulary), dim=-1)
    normalizer = logits.logsumexp(-1, keepdim=True)
    ranks = (live[..., None] + (values - normalizer)).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
    log_probs, order = ranks.flatten(1).topk(width, dim=-1)
    parents = order // ids.shape[-1]
    tokens = ids.flatten(1).gather(1, order)
    if cost is not None:
        log_probs = log_probs + cost.expand_as(allowed).gather(-1, ids).flatten(1).gather(1, order)
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

    @classmethod
    def together(cls, several: Sequence[FinishedHypotheses]) -> FinishedHypotheses:
        """Return the captions of several, side by side."""
        names = ("scores", "log_probs", "lengths", "places")
        return cls(*(torch.cat([getattr(one, name) for one in several], 1) for name in names))

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
        names = ("scores", "log_probs", "lengths", "places")
        return FinishedHypotheses(*(getattr(self, name).gather(1, order) for name in names))

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

    ``tokens`` and ``parents`` (B,W): token of each extension and the beam it extends; ``weights``
    (B,W,N) belong to the beams before they are extended.
    """

    tokens: list[Tensor] = field(default_factory=list)
    parents: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)

    def add(self, tokens: Tensor, parents: Tensor, weights: Tensor | None) -> None:
        """Append one step."""
        self.tokens.append(tokens)
        self.parents.append(parents)
        if weights is not None:
            self.weights.append(weights)

    def captions(self, best: FinishedHypotheses, pad_id: int) -> Generated:
        """Return the captions found by following parents back from the end of each."""
        place = best.places
        tokens: list[Tensor] = []
        weights: list[Tensor] = []
        for step in reversed(range(len(self.tokens))):
            inside = step < best.lengths
            tokens.append(self.tokens[step].gather(1, place).masked_fill(~inside, pad_id))
            parent = self.parents[step].gather(1, place)
            if self.weights:
                attended = self.weights[step][image_index(parent), parent]
                weights.append(attended * inside[..., None])
            place = torch.where(inside, parent, place)
        end = longest(best.lengths)
        return Generated(
            tokens=torch.stack(tokens[::-1], dim=2)[:, :, :end],
            lengths=best.lengths,
            scores=best.scores,
            log_probs=best.log_probs,
            weights=torch.stack(weights[::-1], dim=2)[:, :, :end] if weights else None,
        )
