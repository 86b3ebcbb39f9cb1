"""Parts of a beam that search apart: diverse groups, and states of words that must be said.

Legend: B images, L lanes of w beams each, W = L w, K captions kept, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.hypotheses import Finished, extend


@dataclass(frozen=True)
class Search:
    """What lanes must know of the search: its beams, captions, length penalty, longest caption."""

    beam_size: int
    num_captions: int
    length_penalty: float
    max_length: int

    def penalty(self, length: int) -> float:
        """Return what a log-probability of a caption of this length is divided by."""
        return float(length) ** self.length_penalty

    def possible(self, live: Tensor, length: int) -> Tensor:
        """Return the best score (B,) that live hypotheses (B,W) of this length can still reach.

        A longer caption has no larger log-probability, and the penalty is monotone in the length,
        so that is the score of ending at once or of no cost up to the longest caption.
        """
        largest = live.amax(1)
        return torch.maximum(
            largest / self.penalty(min(length + 1, self.max_length)),
            largest / self.penalty(self.max_length),
        )


class Lanes(ABC):
    """The base: ``count`` lanes of ``size`` beams, of each of which ``kept`` captions are kept."""

    def __init__(
        self, search: Search, device: torch.device, *, count: int, size: int, kept: int
    ) -> None:
        self.search = search
        self.device = device
        self.count = count
        self.size = size
        self.kept = kept
        self.width = count * size

    @abstractmethod
    def begin(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word."""

    @abstractmethod
    def extend(
        self, live: Tensor, logits: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each lane's best extensions side by side: log-probabilities, parents, tokens (B,W).

        The arguments are those of ``hypotheses.extend``.
        """

    @abstractmethod
    def still_live(self, live: Tensor, length: int, best: list[Finished]) -> Tensor:
        """Return log-probabilities (B,W), -inf for hypotheses that can no longer matter."""

    @abstractmethod
    def join(self, best: list[Finished]) -> Finished:
        """Return the captions of all lanes together, best first."""

    def part(self, lane: int) -> slice:
        """Return the places of a lane's beams."""
        return slice(lane * self.size, (lane + 1) * self.size)

    def nothing(self, images: int) -> list[Finished]:
        """Return no captions for each lane."""
        return [Finished.none(images, self.kept, self.device) for _ in range(self.count)]

    def settle(
        self, log_probs: Tensor, ended: Tensor, length: int, best: list[Finished]
    ) -> tuple[Tensor, list[Finished]]:
        """Return the live log-probabilities (B,W), and the finished captions of each lane."""
        finished = log_probs.masked_fill(~ended, -torch.inf)
        penalty = self.search.penalty(length)
        merged = [
            so_far.merge(finished[:, self.part(lane)], length, penalty, lane * self.size)
            for lane, so_far in enumerate(best)
        ]
        return self.still_live(log_probs.masked_fill(ended, -torch.inf), length, merged), merged


class Groups(Lanes):
    """The beams dealt to groups that avoid each other's words; one group is plain beam search.

    Vijayakumar et al. 2016, algorithm 1, with hamming diversity.
    """

    def __init__(self, search: Search, device: torch.device, groups: int, diversity: float) -> None:
        size, kept = search.beam_size // groups, search.num_captions // groups
        super().__init__(search, device, count=groups, size=size, kept=kept)
        self.diversity = diversity

    def begin(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word."""
        # the beams of a group are alike at first: only one of them may have children
        live = torch.full((images, self.count, self.size), -torch.inf, device=self.device)
        live[..., 0] = 0.0
        return live.flatten(1)

    def extend(
        self, live: Tensor, logits: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each group's best extensions side by side."""
        if self.count == 1:
            return extend(live, logits, allowed)
        used = torch.zeros_like(logits[:, 0])  # (B,V): how often each word was taken at this step
        found = []
        for group in range(self.count):
            part = self.part(group)
            cost = self.diversity * used[:, None]
            log_probs, parents, token = extend(
                live[:, part], logits[:, part], allowed[:, part], cost
            )
            taken = (log_probs > -torch.inf).to(used.dtype)
            used = used.scatter_add(1, token, taken)
            found.append((log_probs, parents + group * self.size, token))
        return _side_by_side(found)

    def still_live(self, live: Tensor, length: int, best: list[Finished]) -> Tensor:
        """Return log-probabilities (B,W), -inf for groups whose best captions are settled."""
        after = []
        for group, so_far in enumerate(best):
            own = live[:, self.part(group)]
            settled = self.search.possible(own, length) <= so_far.scores[:, -1]
            after.append(own.masked_fill(settled[:, None], -torch.inf))
        return torch.cat(after, 1)

    def join(self, best: list[Finished]) -> Finished:
        """Return the captions of all groups together, best first."""
        return Finished.together(best).ranked(self.search.num_captions)


class Forced(Lanes):
    """A lane for each set of forced words that a hypothesis may hold so far.

    Anderson et al. 2017, section 3.1: the states of a finite-state machine that accepts captions
    with all the words. Lane s holds word i where bit i of s is set; ``words`` are the ids that
    stand for each.
    """

    def __init__(
        self, search: Search, device: torch.device, words: Sequence[Sequence[int]]
    ) -> None:
        count, size, kept = 2 ** len(words), search.beam_size, search.num_captions
        super().__init__(search, device, count=count, size=size, kept=kept)
        self.words = [torch.tensor(ids, device=device) for ids in words]

    def begin(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word: none is said."""
        live = torch.full((images, self.width), -torch.inf, device=self.device)
        live[:, 0] = 0.0
        return live

    def extend(
        self, live: Tensor, logits: Tensor, allowed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each lane's best extensions side by side.

        A lane is reached from itself by any token but the words it lacks, and from each lane that
        lacks one word more by that word.
        """
        found = []
        for lane in range(self.count):
            ways = [(lane, self._staying(allowed[:, self.part(lane)], lane))]
            for number, ids in enumerate(self.words):
                if lane >> number & 1:
                    before = lane - (1 << number)
                    way = torch.full_like(allowed[:, self.part(before)], -torch.inf)
                    way[..., ids] = allowed[:, self.part(before)][..., ids]
                    ways.append((before, way))
            places = torch.cat(
                [torch.arange(self.width, device=self.device)[self.part(w)] for w, _ in ways]
            )
            reached = torch.cat([way for _, way in ways], 1)
            log_probs, parents, token = extend(
                live[:, places], logits[:, places], reached, width=self.size
            )
            found.append((log_probs, places[parents], token))
        return _side_by_side(found)

    def _staying(self, allowed: Tensor, lane: int) -> Tensor:
        lacking = [ids for number, ids in enumerate(self.words) if not lane >> number & 1]
        if not lacking:
            return allowed
        staying = allowed.clone()
        staying[..., torch.cat(lacking)] = -torch.inf
        return staying

    def still_live(self, live: Tensor, length: int, best: list[Finished]) -> Tensor:
        """Return log-probabilities (B,W), -inf for images whose captions with all words are settled."""
        settled = self.search.possible(live, length) <= best[-1].scores[:, -1]
        return live.masked_fill(settled[:, None], -torch.inf)

    def join(self, best: list[Finished]) -> Finished:
        """Return the captions with all words, then those with most of them, each kind best first."""
        every = Finished.together(best)
        said = torch.tensor([lane.bit_count() for lane in range(self.count)], device=self.device)
        return every.ranked(
            self.kept, first=said.repeat_interleave(self.kept).expand_as(every.lengths)
        )


def _side_by_side(found: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    log_probs, parents, tokens = (torch.cat(part, 1) for part in zip(*found, strict=True))
    return log_probs, parents, tokens
