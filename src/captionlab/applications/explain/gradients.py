"""Integrated gradients of a word's log-probability: what each pixel adds on the way from gray.

Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks".

B pictures, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.applications.explain.occlusion import GRAY
from captionlab.core.errors import UserError

BLUR = 0.02  # of a side: single pixels are too noisy to be pointed at
NEEDS = "integrated gradients need captum: pip install 'captionlab[explain]'"


class Attribution(NamedTuple):
    """What each pixel adds (S,S), in the score's units; ``total``: by how much the score differs.

    The pixels sum up to the total but for ``error``, which more steps make smaller (completeness,
    proposition 1).
    """

    map: Tensor
    total: float
    error: float


def integrated_gradients(
    score: Callable[[Tensor], Tensor], picture: Tensor, *, steps: int = 32, batch: int = 8
) -> Attribution:
    """Return the integrated gradients of one score along the way from a gray picture.

    Args:
        score: pictures (B,3,S,S) floats in [0, 1] -> scores (B,). picture: (3,S,S) uint8.
        steps: points on the way (Gauss-Legendre). batch: of them at a time.

    Raises:
        UserError: if captum is not installed, or no gradient reaches the picture.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise UserError(NEEDS) from None
    inputs = picture[None].float() / 255
    baseline = torch.full_like(inputs, GRAY / 255)
    try:
        attributions = IntegratedGradients(score).attribute(
            inputs, baseline, n_steps=steps, internal_batch_size=batch
        )
    except RuntimeError as error:
        if "does not require grad" not in str(error) and "not have been used" not in str(error):
            raise
        raise UserError(
            "no gradient reaches the picture through this model: say --method occlusion"
        ) from error
    with torch.no_grad():
        ends = score(torch.cat([inputs, baseline]))
    total = float(ends[0] - ends[1])
    pixels = attributions[0].sum(0).detach().float().cpu()
    return Attribution(pixels, total, float(pixels.sum()) - total)


def smoothed(pixels: Tensor, share: float = BLUR) -> Tensor:
    """Return a map (S,S) blurred by a Gaussian of ``share`` of its side."""
    deviation = max(share * pixels.shape[-1], 0.5)
    reach = math.ceil(3 * deviation)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(pixels[None, None], (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[None, None, None])
    return F.conv2d(across, kernel[None, None, :, None])[0, 0]
