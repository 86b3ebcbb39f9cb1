"""How different sampled captions are, step by step, and a word of warning where that ends."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

COLLAPSED = 0.3  # of the first steps' share of different word pairs

log = logging.getLogger(__name__)


class Variety:
    """How different the samples are; says so, once, where they collapse."""

    def __init__(self, window: int = 50) -> None:
        self.window = window
        self.seen: list[float] = []  # the first steps' values, then a moving average

    def __call__(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Return the share of different pairs among all word pairs of captions (B,K,T)."""
        pairs = torch.stack([tokens[..., :-1], tokens[..., 1:]], -1)[real[..., 1:]]
        share = len(pairs.unique(dim=0)) / max(1, len(pairs))
        if len(self.seen) < self.window:
            self.seen.append(share)
        else:
            if len(self.seen) == self.window:
                self.seen.append(share)
            healthy = self.seen[-1] >= COLLAPSED * self._first
            self.seen[-1] = 0.95 * self.seen[-1] + 0.05 * share
            if healthy and self.seen[-1] < COLLAPSED * self._first:
                log.warning(
                    "the captions collapse: %.1f %% of their word pairs differ, %.1f %% did at "
                    "first; lower objective.adversarial or raise objective.likelihood",
                    100 * self.seen[-1],
                    100 * self._first,
                )
        return torch.tensor(share)

    @property
    def _first(self) -> float:
        return sum(self.seen[: self.window]) / self.window
