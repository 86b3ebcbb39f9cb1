"""Deletion and insertion: does a word's probability follow the pixels that a map calls important?

Petsiuk, Das, Saenko 2018, section 4.2. S pixels a side, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.applications.explain.occlusion import occluded

STEPS = 20


@dataclass(frozen=True)
class Curve:
    """A word's probability (K+1) as pixels go or come, most important first; equal shares of them."""

    values: tuple[float, ...]

    @property
    def area(self) -> float:
        """The area under it, from 0 to 1 (trapezoids)."""
        inner = sum(self.values) - (self.values[0] + self.values[-1]) / 2
        return inner / (len(self.values) - 1)


@dataclass(frozen=True)
class Curves:
    """``deletion`` begins with the whole picture, low is good; ``insertion`` with gray, high is good."""

    deletion: Curve
    insertion: Curve


@torch.no_grad()
def deletion_insertion(
    probability: Callable[[Tensor], Tensor],
    picture: Tensor,
    saliency: Tensor,
    *,
    steps: int = STEPS,
    batch: int = 32,
) -> Curves:
    """Return both curves of a map (S,S) over a picture (3,S,S) uint8.

    ``probability``: pictures (B,3,S,S) uint8 -> probabilities (B,). What is missing is gray.
    """
    order = saliency.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    rank = rank.view(saliency.shape)

    def visible(inserted: bool) -> Iterator[Tensor]:
        for step in range(steps + 1):
            shown = rank < round(step / steps * rank.numel())
            yield (shown if inserted else ~shown).float()

    masks = [*visible(False), *visible(True)]
    values: list[float] = []
    for start in range(0, len(masks), batch):
        pictures = occluded(picture, torch.stack(masks[start : start + batch]))
        values += probability(pictures).tolist()
    return Curves(Curve(tuple(values[: steps + 1])), Curve(tuple(values[steps + 1 :])))
