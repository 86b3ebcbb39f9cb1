"""Beam search, batched over images and beams.

Legend: B images, W beams, K captions kept an image, C candidates a beam, S steps taken, N memory
slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captionlab.decoding.constraints import ban, never_ids, require_length
from captionlab.decoding.generated import (
    BatchMemory,
    Generated,
    StepModel,
    check_lengths,
    check_whole,
    image_index,
    is_number,
    longest,
    may_stop,
)
from captionlab.errors import UserError


@dataclass(frozen=True)
class Beam:
    """Keeps the ``beam_size`` most probable hypotheses at every step (Sutskever 2014, section 3.2).

    At each step the ``beam_size`` best one-token extensions of the live hypotheses survive; those
    that end with eos leave the beam for the finished captions and their places are open again at
    the next step. At ``max_length`` tokens (eos counted) the live ones are cut, without eos, and
    compete as they are. One beam is greedy decoding.

    ``length_penalty`` a ranks by log-probability / length**a: 0 is the plain log-probability, 1 its
    mean a token, and more favors longer captions. The search of an image stops when no live
    hypothesis can still enter its ``num_captions`` best, which changes no result.
    ``min_length``: fewest words before eos. UserError for a value that cannot be.
    """

    beam_size: int = 3
    length_penalty: float = 0.5
    num_captions: int = 1
    max_length: int = 20
    min_length: int = 1

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.max_length)
        check_whole("beam_size", self.beam_size, at_least=1)
        check_whole("num_captions", self.num_captions, at_least=1)
        if self.num_captions > self.beam_size:
            raise UserError(
                f"decoding.num_captions={self.num_captions} must not exceed "
                f"decoding.beam_size={self.beam_size}"
            )
        if not is_number(self.length_penalty) or abs(self.length_penalty) > 10:
            raise UserError(
                f"decoding.length_penalty={self.length_penalty!r} must be a number from -10 to 10"
            )

    @torch.no_grad()
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
        """Return the W=num_captions best captions an image; none holds bos, pad or a banned id.

        ``scores`` are the log-probabilities divided by length**length_penalty.
        """
        images, device = len(memory.pooled), memory.pooled.device
        banned = never_ids(
            bos_id=bos_id, eos_id=eos_id, pad_id=pad_id, banned_ids=banned_ids, device=device
        )
        state = model.start(memory, self.beam_size)
        token = torch.full((images, self.beam_size), bos_id, device=device)
        # all beams are alike at first: only one of them may have children
        live = torch.full((images, self.beam_size), -torch.inf, device=device)
        live[:, 0] = 0.0
        trace = Trace()
        best = Finished.none(images, self.num_captions, device)
        for step in range(self.max_length):
            logits, state = model.step(token, state)
            logits = logits.float()
            allowed = require_length(
                ban(logits, banned), words=step, min_length=self.min_length, eos_id=eos_id
            )
            log_probs, parents, token = extend(live, logits, allowed)
            trace.add(token, parents, state.weights)
            ended = token == eos_id if step + 1 < self.max_length else torch.ones_like(token).bool()
            finished = log_probs.masked_fill(~ended, -torch.inf)
            best = best.merge(finished, step + 1, self.penalty(step + 1))
            live = self.still_live(log_probs.masked_fill(ended, -torch.inf), step + 1, best)
            if may_stop(step, live > -torch.inf):
                break
            state = state.select(parents)
        return trace.captions(best, pad_id)

    def penalty(self, length: int) -> float:
        """Return what a log-probability of a caption of this length is divided by."""
        return float(length) ** self.length_penalty

    def still_live(self, live: Tensor, length: int, best: Finished) -> Tensor:
        """Return log-probabilities (B,W), -inf for images whose best captions are settled.

        A longer caption has no larger log-probability, and the penalty is monotone in the length,
        so the best score still possible is that of ending at once or of no cost up to max_length.
        """
        largest = live.amax(1)
        possible = torch.maximum(
            largest / self.penalty(min(length + 1, self.max_length)),
            largest / self.penalty(self.max_length),
        )
        settled = possible <= best.scores[:, -1]
        return live.masked_fill(settled[:, None], -torch.inf)


def extend(live: Tensor, logits: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the W best one-token extensions of each image: log-probabilities, parents, tokens.

    All (B,W), best first. ``live`` (B,W): log-probabilities of the hypotheses so far, ``logits``
    (B,W,V) float32 as the model gave them, ``allowed`` (B,W,V) after the constraints. -inf marks
    an extension that is not possible, also where a row of logits holds NaN.
    """
    width, vocabulary = logits.shape[1:]
    # the W best of an image are among the W best of each of its beams: no (B, W*V) tensor is made
    values, ids = allowed.topk(min(width, vocabulary), dim=-1)
    children = live[..., None] + (values - logits.logsumexp(-1, keepdim=True))
    children = children.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
    log_probs, order = children.flatten(1).topk(width, dim=-1)
    parents = order // ids.shape[-1]
    return log_probs, parents, ids.flatten(1).gather(1, order)


@dataclass(frozen=True)
class Finished:
    """The best complete captions of each image so far, all (B,K), best first.

    A caption is the extension ``places`` of the step ``lengths`` - 1; a free place has score -inf
    and length 0.
    """

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    places: Tensor

    @classmethod
    def none(cls, images: int, captions: int, device: torch.device) -> Finished:
        """Return K free places an image."""
        impossible = torch.full((images, captions), -torch.inf, device=device)
        nothing = torch.zeros((images, captions), dtype=torch.long, device=device)
        return cls(impossible, impossible, nothing, nothing)

    def merge(self, log_probs: Tensor, length: int, penalty: float) -> Finished:
        """Return the K best of these and of the extensions (B,W), -inf where they are not ended."""
        ended = log_probs > -torch.inf
        places = torch.arange(log_probs.shape[1], device=log_probs.device).expand_as(log_probs)
        scores = torch.cat([self.scores, log_probs / penalty], dim=1)
        # stable: the earlier of two equal captions stays, so stopping early changes nothing
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        keep = (image_index(order), order[:, : self.scores.shape[1]])
        return Finished(
            scores=scores[:, : self.scores.shape[1]],
            log_probs=torch.cat([self.log_probs, log_probs], dim=1)[keep],
            lengths=torch.cat([self.lengths, ended * length], dim=1)[keep],
            places=torch.cat([self.places, places], dim=1)[keep],
        )


@dataclass
class Trace:
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

    def captions(self, best: Finished, pad_id: int) -> Generated:
        """Return the captions found by following parents back from the end of each."""
        place = best.places
        tokens: list[Tensor] = []
        weights: list[Tensor] = []
        for step in reversed(range(len(self.tokens))):
            inside = step < best.lengths
            tokens.append(self.tokens[step].gather(1, place).masked_fill(~inside, pad_id))
            parent = self.parents[step].gather(1, place)
            if self.weights:
                looked = self.weights[step][image_index(parent), parent]
                weights.append(looked * inside[..., None])
            place = torch.where(inside, parent, place)
        end = longest(best.lengths)
        return Generated(
            tokens=torch.stack(tokens[::-1], dim=2)[:, :, :end],
            lengths=best.lengths,
            scores=best.scores,
            log_probs=best.log_probs,
            weights=torch.stack(weights[::-1], dim=2)[:, :, :end] if weights else None,
        )
