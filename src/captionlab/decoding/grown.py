"""Captions that grow each by itself, while the images whose captions have ended are laid aside.

Legend: B images of the batch, b of them whose captions still grow, W captions an image, T tokens,
N memory slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from captionlab.decoding.generated import Generated, longest
from captionlab.decoding.unfinished import in_batch, narrowed


@dataclass
class Grown:
    """What a loop keeps of its steps: tokens (b,W) and weights (b,W,N) of each, and their ``images``.

    ``lengths`` and ``log_probs`` (B,W) are those of all; ``images`` (b,) is None for the whole batch.
    """

    lengths: Tensor
    log_probs: Tensor
    images: Tensor | None = None
    steps: list[tuple[Tensor, Tensor | None, Tensor | None]] = field(default_factory=list)

    @classmethod
    def none(cls, images: int, width: int, device: torch.device) -> Grown:
        """Return captions without a token."""
        lengths = torch.zeros((images, width), dtype=torch.long, device=device)
        return cls(lengths, torch.zeros((images, width), device=device))

    def add(
        self, token: Tensor, log_prob: Tensor, weights: Tensor | None, unfinished: Tensor
    ) -> None:
        """Append the tokens (b,W) of a step, of which those of ``unfinished`` (b,W) captions count."""
        if weights is not None:
            weights = weights * unfinished[..., None]
        self.steps.append((token, weights, self.images))
        count = len(self.lengths)
        self.lengths = self.lengths + in_batch(unfinished.long(), self.images, count)
        counted = log_prob.masked_fill(~unfinished, 0.0)
        self.log_probs = self.log_probs + in_batch(counted, self.images, count)

    def go_on_with(self, rest: Tensor) -> None:
        """Let only some of the last step's images grow on, given by their places in it."""
        self.images = narrowed(self.images, rest)

    def history(self) -> Tensor | None:
        """Return the tokens (b,W,t) so far of the images that still grow, None before the first."""
        if not self.steps:
            return None
        tokens = torch.stack([in_batch(t, i, len(self.lengths)) for t, _, i in self.steps], -1)
        return tokens if self.images is None else tokens[self.images]

    def captions(self, pad_id: int) -> Generated:
        """Return all captions of the batch."""
        end = longest(self.lengths)
        tokens = torch.full((*self.lengths.shape, end), pad_id, device=self.lengths.device)
        weights = None
        for step, (token, attended, images) in enumerate(self.steps[:end]):
            places = slice(None) if images is None else images
            tokens[places, :, step] = token
            if attended is not None:
                if weights is None:
                    weights = attended.new_zeros(*tokens.shape, attended.shape[-1])
                weights[places, :, step] = attended
        return Generated(tokens, self.lengths, self.log_probs, self.log_probs, weights)
