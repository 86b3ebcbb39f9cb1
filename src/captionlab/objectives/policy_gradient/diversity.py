"""How different sampled captions are, step by step, and a word of warning where that ends."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

COLLAPSED = 0.3  # of the first steps' share of different word pairs

log = logging.getLogger(__name__)


class DiversityMonitor:
    """How different the samples are; warns, once, where they collapse."""

    def __init__(self, window: int = 50) -> None:
        self.window = window
        self.history: list[float] = []  # the first steps' values, then a moving average

    def __call__(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the share of different pairs among all word pairs of captions (B,K,T)."""
        pairs = torch.stack([tokens[..., :-1], tokens[..., 1:]], -1)[mask[..., 1:]]
        share = len(pairs.unique(dim=0)) / max(1, len(pairs))
        if len(self.history) < self.window:
            self.history.append(share)
            return torch.tensor(share)
        if len(self.history) == self.window:
            self.history.append(share)
        healthy = self.history[-1] >= COLLAPSED * self._first_mean
        self.history[-1] = 0.95 * self.history[-1] + 0.05 * share
        if healthy and self.history[-1] < COLLAPSED * self._first_mean:
            log.warning(
                "the captions collapse: %.1f %% of their word pairs differ, %.1f %% did at "
                "first; lower objective.adversarial or raise objective.likelihood",
                100 * self.history[-1],
                100 * self._first_mean,
            )
        return torch.tensor(share)

    @property
    def _first_mean(self) -> float:
        return sum(self.history[: self.window]) / self.window
