"""Which of an image's captions are compared, and what a comparison costs.

Legend: B images, K captions an image, T tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.decoding.generated import Generated, image_index


class Preferences(NamedTuple):
    """Captions of a batch and which of them are preferred to which."""

    captions: Generated
    better: Tensor  # (B,K,K) bool: the first caption's reward is higher, by more than the margin


def all_pairs(captions: Generated, reward: Tensor, margin: float) -> Preferences:
    """Return all captions, with every pair whose rewards (B,K) differ by more than ``margin``."""
    return Preferences(captions, reward.unsqueeze(2) - reward.unsqueeze(1) > margin)


def best_against_worst(captions: Generated, reward: Tensor, margin: float) -> Preferences:
    """Return the two captions (B,2) of an image with the highest and the lowest reward, as a pair."""
    chosen = torch.stack([reward.argmax(1), reward.argmin(1)], 1)
    return all_pairs(_taken(captions, chosen), reward.gather(1, chosen), margin)


def preference_loss(
    log_ratios: Tensor, better: Tensor, *, beta: float, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the mean loss over pairs, 0 without one, and the margins (P,) of the pairs.

    ``log_ratios`` (B,K) are log pi(y|x) - log ref(y|x). A pair's margin h is beta times the
    difference of its captions' ratios, and its loss ``-(1 - e) log sigmoid(h) - e log sigmoid(-h)``:
    Rafailov et al. 2023, equation 7; with e, the probability that a preference is wrong,
    "conservative DPO" (Mitchell 2023, "A note on DPO with noisy preferences").
    """
    margins = beta * (log_ratios.unsqueeze(2) - log_ratios.unsqueeze(1))[better]
    right, wrong = F.logsigmoid(margins), F.logsigmoid(-margins)
    losses = -(1 - label_smoothing) * right - label_smoothing * wrong
    # a sum keeps the graph of a batch without any pair, whose gradient is 0
    return losses.sum() / max(1, len(margins)), margins.detach()


def _taken(captions: Generated, indices: Tensor) -> Generated:
    """Return the captions of each image with these indices (B,W)."""
    image = image_index(indices)
    return replace(
        captions,
        tokens=captions.tokens[image, indices],
        lengths=captions.lengths[image, indices],
        scores=captions.scores[image, indices],
        log_probs=captions.log_probs[image, indices],
        weights=None,
    )
