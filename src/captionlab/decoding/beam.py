"""Beam search, batched over images and beams.

Legend: B images, W beams, K captions kept an image, C candidates a beam, S steps taken, N memory
slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captionlab.decoding.generated import (
    BatchMemory,
    Generated,
    StepModel,
    check_whole,
    image_index,
    is_number,
    longest,
    may_stop,
)
from captionlab.decoding.limits import Encode, Limits
from captionlab.errors import UserError


@dataclass(frozen=True)
class Beam(Limits):
    """Keeps the ``beam_size`` most probable hypotheses at every step (Sutskever 2014, section 3.2).

    At each step the ``beam_size`` best one-token extensions of the live hypotheses survive; those
    that end with eos leave the beam for the finished captions and their places are open again at
    the next step. At ``max_length`` tokens (eos counted) the live ones are cut, without eos, and
    compete as they are. One beam is greedy decoding.

    ``length_penalty`` a ranks by log-probability / length**a: 0 is the plain log-probability, 1 its
    mean a token, and more favors longer captions. The search of an image stops when no live
    hypothesis can still enter its ``num_captions`` best, which changes no result.

    ``groups`` above 1 is diverse beam search (Vijayakumar 2016): the beams are dealt to groups that
    search one after the other, and a word that earlier groups took at this step costs
    ``diversity`` for each time; scores stay those of the model. UserError for a value that cannot
    be.
    """

    beam_size: int = 3
    length_penalty: float = 0.5
    num_captions: int = 1
    groups: int = 1
    diversity: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("groups", self.groups, at_least=1)
        if not is_number(self.diversity) or self.diversity < 0:
            raise UserError(f"decoding.diversity={self.diversity!r} must be a number of at least 0")
        check_whole("beam_size", self.beam_size, at_least=1)
        check_whole("num_captions", self.num_captions, at_least=1)
        if self.num_captions > self.beam_size:
            raise UserError(
                f"decoding.num_captions={self.num_captions} must not exceed "
                f"decoding.beam_size={self.beam_size}"
            )
        if self.beam_size % self.groups or self.num_captions % self.groups:
            raise UserError(
                f"decoding.groups={self.groups} must divide decoding.beam_size={self.beam_size} and "
                f"decoding.num_captions={self.num_captions}: each group brings as many captions"
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
        encode: Encode | None = None,
    ) -> Generated:
        """Return the W=num_captions best captions an image; none holds bos, pad or a banned id.

        ``scores`` are the log-probabilities divided by length**length_penalty.
        """
        images, device = len(memory.pooled), memory.pooled.device
        rules = self.rules(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
            encode=encode,
            device=device,
        )
        state = model.start(memory, self.beam_size)
        token = torch.full((images, self.beam_size), bos_id, device=device)
        # the beams of a group are alike at first: only one of them may have children
        live = torch.full((images, self.groups, self.beam_size // self.groups), -torch.inf)
        live[..., 0] = 0.0
        live = live.flatten(1).to(device)
        trace = Trace()
        kept = self.num_captions // self.groups
        best = [Finished.none(images, kept, device) for _ in range(self.groups)]
        history = token[..., None][..., :0]
        for step in range(self.max_length):
            logits, state = model.step(token, state)
            logits = logits.float()
            allowed = rules(logits, step, history if rules.needs_history else None)
            log_probs, parents, token = self.extend_groups(live, logits, allowed)
            trace.add(token, parents, state.weights)
            ended = token == eos_id if step + 1 < self.max_length else torch.ones_like(token).bool()
            live, best = self.settle(log_probs, ended, step + 1, best)
            if may_stop(step, live > -torch.inf):
                break
            state = state.select(parents)
            if rules.needs_history:
                moved = history[image_index(parents), parents]
                history = torch.cat([moved, token[..., None]], -1)
        return trace.captions(join(best), pad_id)

    def extend_groups(
        self, live: Tensor, logits: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each group's best extensions side by side, as ``extend`` does for one.

        Vijayakumar 2016, algorithm 1, with hamming diversity.
        """
        if self.groups == 1:
            return extend(live, logits, allowed)
        size = self.beam_size // self.groups
        used = torch.zeros_like(logits[:, 0])  # (B,V): how often each word was taken at this step
        found = []
        for group in range(self.groups):
            part = slice(group * size, (group + 1) * size)
            cost = self.diversity * used[:, None]
            log_probs, parents, token = extend(
                live[:, part], logits[:, part], allowed[:, part], cost
            )
            taken = (log_probs > -torch.inf).to(used.dtype)
            used = used.scatter_add(1, token, taken)
            found.append((log_probs, parents + group * size, token))
        log_probs, parents, tokens = (torch.cat(part, 1) for part in zip(*found, strict=True))
        return log_probs, parents, tokens

    def settle(
        self, log_probs: Tensor, ended: Tensor, length: int, best: list[Finished]
    ) -> tuple[Tensor, list[Finished]]:
        """Return the live log-probabilities (B,W), and the finished captions of each group."""
        size = self.beam_size // self.groups
        finished = log_probs.masked_fill(~ended, -torch.inf)
        going = log_probs.masked_fill(ended, -torch.inf)
        live, after = [], []
        for group, so_far in enumerate(best):
            part = slice(group * size, (group + 1) * size)
            merged = so_far.merge(finished[:, part], length, self.penalty(length), group * size)
            live.append(self.still_live(going[:, part], length, merged))
            after.append(merged)
        return torch.cat(live, 1), after

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


def join(best: list[Finished]) -> Finished:
    """Return the captions of all groups together, best first."""
    if len(best) == 1:
        return best[0]
    scores = torch.cat([group.scores for group in best], 1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    log_probs, lengths, places = (
        torch.cat([getattr(group, name) for group in best], 1).gather(1, order)
        for name in ("log_probs", "lengths", "places")
    )
    return Finished(scores, log_probs, lengths, places)


def extend(
    live: Tensor, logits: Tensor, allowed: Tensor, cost: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the W best one-token extensions of each image: log-probabilities, parents, tokens.

    All (B,W), best first. ``live`` (B,W): log-probabilities of the hypotheses so far, ``logits``
    (B,W,V) float32 as the model gave them, ``allowed`` (B,W,V) after the constraints, ``cost``
    (B,1,V) what a token costs in the choice, but not in the log-probability. -inf marks an
    extension that is not possible, also where a row of logits holds NaN.
    """
    width, vocabulary = logits.shape[1:]
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

    def merge(self, log_probs: Tensor, length: int, penalty: float, first: int = 0) -> Finished:
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
