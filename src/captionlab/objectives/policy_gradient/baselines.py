"""What a reward is compared with, so that its gradient has less variance.

Legend: B images, K samples an image.
"""

from __future__ import annotations

from torch import Tensor


def leave_one_out(reward: Tensor) -> Tensor:
    """Return the mean reward (B,K) of an image's other samples (Luo 2020, equation 4)."""
    return (reward.sum(1, keepdim=True) - reward) / (reward.shape[1] - 1)
