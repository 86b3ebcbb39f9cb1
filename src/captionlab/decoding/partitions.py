"""Parts of a beam that search apart: diverse groups, and states of words that must be fulfilled.

Legend: B images, L partitions of w beams each, W = L w, K captions kept, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.hypotheses import FinishedHypotheses, extend


@dataclass(frozen=True)
class BeamSettings:
    """What partitions must know of the search: its beams, captions, length penalty, longest caption."""

    beam_size: int
    num_captions: int
    length_penalty: float
    max_length: int

    def penalty(self, length: int) -> float:
        """Return what a log-probability of a caption of this length is divided by."""
        return float(length) ** self.length_penalty

    def best_possible(self, live: Tensor, length: int) -> Tensor:
        """Return the best score (B,) that live hypotheses (B,W) of this length can still reach.

        A longer caption has no larger log-probability, and the penalty is monotone in the length,
        so that is the score of ending at once or of no cost up to the longest caption.
        """
        largest = live.amax(1)
        return torch.maximum(
            largest / self.penalty(min(length + 1, self.max_length)),
            largest / self.penalty(self.max_length),
        )


class BeamPartitions(ABC):
    """The base: ``count`` partitions of ``size`` beams, of each of which ``kept`` captions are kept."""

    def __init__(
        self, settings: BeamSettings, device: torch.device, *, count: int, size: int, kept: int
    ) -> None:
        self.settings = settings
        self.device = device
        self.count = count
        self.size = size
        self.kept = kept
        self.width = count * size

    @abstractmethod
    def init_log_probs(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word."""

    @abstractmethod
    def extend(self, live: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each partition's best extensions side by side: log-probabilities, parents, tokens (B,W).

        The arguments are those of ``hypotheses.extend``.
        """

    @abstractmethod
    def prune(self, live: Tensor, length: int, best: list[FinishedHypotheses]) -> Tensor:
        """Return log-probabilities (B,W), -inf for hypotheses that can no longer matter."""

    @abstractmethod
    def merge(self, best: list[FinishedHypotheses]) -> FinishedHypotheses:
        """Return the captions of all partitions together, best first."""

    def beams(self, partition: int) -> slice:
        """Return the places of a partition's beams."""
        return slice(partition * self.size, (partition + 1) * self.size)

    def init_finished(self, images: int) -> list[FinishedHypotheses]:
        """Return no captions for each partition."""
        return [FinishedHypotheses.none(images, self.kept, self.device) for _ in range(self.count)]

    def update_finished(
        self, log_probs: Tensor, ended: Tensor, length: int, best: list[FinishedHypotheses]
    ) -> tuple[Tensor, list[FinishedHypotheses]]:
        """Return the live log-probabilities (B,W), and the finished captions of each partition."""
        finished = log_probs.masked_fill(~ended, -torch.inf)
        penalty = self.settings.penalty(length)
        merged = [
            so_far.merge(finished[:, self.beams(partition)], length, penalty, partition * self.size)
            for partition, so_far in enumerate(best)
        ]
        return self.prune(log_probs.masked_fill(ended, -torch.inf), length, merged), merged


class DiverseBeam(BeamPartitions):
    """The beams dealt to groups that avoid each other's words; one group is plain beam search.

    Vijayakumar et al. 2016, algorithm 1, with hamming diversity.
    """

    def __init__(
        self, settings: BeamSettings, device: torch.device, groups: int, diversity: float
    ) -> None:
        size, kept = settings.beam_size // groups, settings.num_captions // groups
        super().__init__(settings, device, count=groups, size=size, kept=kept)
        self.diversity = diversity

    def init_log_probs(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word."""
        # the beams of a group are alike at first: only one of them may have children
        live = torch.full((images, self.count, self.size), -torch.inf, device=self.device)
        live[..., 0] = 0.0
        return live.flatten(1)

    def extend(self, live: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each group's best extensions side by side."""
        if self.count == 1:
            return extend(live, allowed)
        used = torch.zeros_like(allowed[:, 0])  # (B,V): how often each word was taken at this step
        extensions = []
        for group in range(self.count):
            beams = self.beams(group)
            cost = self.diversity * used[:, None]
            own = allowed if allowed.shape[1] == 1 else allowed[:, beams]
            log_probs, parents, token = extend(live[:, beams], own, cost)
            taken = (log_probs > -torch.inf).to(used.dtype)
            used = used.scatter_add(1, token, taken)
            extensions.append((log_probs, parents + group * self.size, token))
        return _concatenate(extensions)

    def prune(self, live: Tensor, length: int, best: list[FinishedHypotheses]) -> Tensor:
        """Return log-probabilities (B,W), -inf for groups whose best captions are settled."""
        after = []
        for group, so_far in enumerate(best):
            own = live[:, self.beams(group)]
            settled = self.settings.best_possible(own, length) <= so_far.scores[:, -1]
            after.append(own.masked_fill(settled[:, None], -torch.inf))
        return torch.cat(after, 1)

    def merge(self, best: list[FinishedHypotheses]) -> FinishedHypotheses:
        """Return the captions of all groups together, best first."""
        return FinishedHypotheses.together(best).ranked(self.settings.num_captions)


class ConstrainedBeam(BeamPartitions):
    """A partition for each set of forced words that a hypothesis may hold so far.

    Anderson et al. 2017, section 3.1: the states of a finite-state machine that accepts captions
    with all the words. Partition s holds word i where bit i of s is set; ``words`` are the ids that
    stand for each.
    """

    def __init__(
        self, settings: BeamSettings, device: torch.device, words: Sequence[Sequence[int]]
    ) -> None:
        count, size, kept = 2 ** len(words), settings.beam_size, settings.num_captions
        super().__init__(settings, device, count=count, size=size, kept=kept)
        self.words = [torch.tensor(ids, device=device) for ids in words]

    def init_log_probs(self, images: int) -> Tensor:
        """Return the log-probabilities (B,W) of the beams before the first word: none is fulfilled."""
        live = torch.full((images, self.width), -torch.inf, device=self.device)
        live[:, 0] = 0.0
        return live

    def extend(self, live: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each partition's best extensions side by side.

        A partition is reached from itself by any token but the words it lacks, and from each that
        lacks one word more by that word.
        """
        allowed = allowed.expand(-1, self.width, -1)
        extensions = []
        for partition in range(self.count):
            own = self._without_missing_words(allowed[:, self.beams(partition)], partition)
            sources = [(partition, own)]
            for number, ids in enumerate(self.words):
                if partition >> number & 1:
                    before = partition - (1 << number)
                    word_scores = torch.full_like(own, -torch.inf)
                    word_scores[..., ids] = allowed[:, self.beams(before)][..., ids]
                    sources.append((before, word_scores))
            places = torch.cat(
                [torch.arange(self.width, device=self.device)[self.beams(w)] for w, _ in sources]
            )
            reached = torch.cat([scores for _, scores in sources], 1)
            log_probs, parents, token = extend(live[:, places], reached, width=self.size)
            extensions.append((log_probs, places[parents], token))
        return _concatenate(extensions)

    def _without_missing_words(self, allowed: Tensor, partition: int) -> Tensor:
        lacking = [ids for number, ids in enumerate(self.words) if not partition >> number & 1]
        if not lacking:
            return allowed
        staying = allowed.clone()
        staying[..., torch.cat(lacking)] = -torch.inf
        return staying

    def prune(self, live: Tensor, length: int, best: list[FinishedHypotheses]) -> Tensor:
        """Return log-probabilities (B,W), -inf for images whose captions with all words are settled."""
        settled = self.settings.best_possible(live, length) <= best[-1].scores[:, -1]
        return live.masked_fill(settled[:, None], -torch.inf)

    def merge(self, best: list[FinishedHypotheses]) -> FinishedHypotheses:
        """Return the captions with all words, then those with most of them, each kind best first."""
        every = FinishedHypotheses.together(best)
        fulfilled = torch.tensor(
            [partition.bit_count() for partition in range(self.count)], device=self.device
        )
        return every.ranked(
            self.kept, first=fulfilled.repeat_interleave(self.kept).expand_as(every.lengths)
        )


def _concatenate(extensions: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    log_probs, parents, tokens = (torch.cat(part, 1) for part in zip(*extensions, strict=True))
    return log_probs, parents, tokens
