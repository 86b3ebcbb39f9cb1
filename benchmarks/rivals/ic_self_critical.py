"""The self-critical step of ImageCaptioning.pytorch, written anew from its public code.

captioning/modules/loss_wrapper.py and losses.py, captioning/utils/rewards.py (4c48a33): captions are
drawn with gradients, step by step, and their words' log-probabilities kept of all words; the
baseline is the greedy caption, or the mean of the image's other samples, and CIDEr-D scores text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rivals.cider import CiderD
from rivals.ic_models import ImageCaptioning
from rivals.ic_search import write


class SelfCriticalStep:
    """Forward and backward of one step; ``references`` are token ids with their end."""

    def __init__(
        self,
        model: ImageCaptioning,
        references: Mapping[int, Sequence[Sequence[int]]],
        *,
        samples: int,
        greedy_baseline: bool,
    ) -> None:
        self.model = model
        self.samples = samples
        self.greedy_baseline = greedy_baseline
        self.texts = {
            image: [as_text(ids, model.eos) for ids in several]
            for image, several in references.items()
        }
        self.cider = CiderD(self.texts.values())

    def __call__(self, slots: Tensor) -> Tensor:
        """Return the loss of a batch of images, numbered from 0."""
        model, greedy = self.model, None
        if self.greedy_baseline:
            model.eval()
            with torch.no_grad():
                greedy, _ = write(model, slots, greedy=True)
            model.train()
        captions, log_probs = write(model, slots, samples=self.samples, greedy=False)
        advantage = self._advantage(captions, greedy)
        chosen = log_probs.gather(2, captions.unsqueeze(2)).squeeze(2)
        mask = (captions != model.pad).to(chosen)
        mask = torch.cat([mask.new_ones(len(mask), 1), mask[:, :-1]], 1)
        reward = torch.from_numpy(advantage).to(chosen).unsqueeze(1).expand_as(chosen)
        return torch.sum(-chosen * reward * mask) / torch.sum(mask)

    def _advantage(self, captions: Tensor, greedy: Tensor | None) -> np.ndarray:
        """Return how much better than the baseline each caption (R,T) is, (R,)."""
        images = len(captions) // self.samples
        texts = [as_text(row, self.model.eos) for row in captions.cpu().numpy()]
        owners = [row // self.samples for row in range(len(texts))]
        if greedy is not None:
            texts += [as_text(row, self.model.eos) for row in greedy.cpu().numpy()]
            owners += list(range(images))
        scores = self.cider(texts, [self.texts[image] for image in owners])
        drawn = scores[: len(captions)].reshape(images, self.samples)
        if greedy is not None:
            return (drawn - scores[len(captions) :, np.newaxis]).reshape(-1)
        others = (drawn.sum(1, keepdims=True) - drawn) / (self.samples - 1)
        return (drawn - others).reshape(-1)


def as_text(ids: Sequence[int] | np.ndarray, eos: int) -> str:
    """Return ids as words up to the end token, which counts as a word."""
    text = ""
    for token in ids:
        text += str(token) + " "
        if token == eos:
            break
    return text.strip()
