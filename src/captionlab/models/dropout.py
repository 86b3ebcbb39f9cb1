"""Dropout whose random bits cost less on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DRAWS = 2**16  # of a random number; four are cut out of each of 64 bits


class Dropout(nn.Dropout):
    """``nn.Dropout`` (Srivastava et al. 2014) with the mask of ``dropout``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, in training with a share ``p`` of its elements 0 and the rest scaled."""
        return dropout(input, self.p, self.training)


def dropout(values: Tensor, p: float, training: bool) -> Tensor:
    """Return values with each element 0 by chance ``p`` and the rest divided by the chance to stay.

    On a CPU an element takes 16 random bits instead of torch's one draw of a uniform distribution,
    which makes a dropout about twice as fast: ``p`` is rounded to a multiple of 1 / 65,536, and the
    mean of the result is kept. Elsewhere, and in programs that are compiled, it is torch's own.
    """
    if not training or p == 0.0:
        return values
    dropped = round(p * DRAWS)
    if values.device.type != "cpu" or dropped == DRAWS or torch.compiler.is_compiling():
        return F.dropout(values, p)
    words = torch.empty((values.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: values.numel()].view(values.shape)
    noise = torch.empty(values.shape, dtype=values.dtype)
    torch.ge(draws, dropped - DRAWS // 2, out=noise)
    return values * noise.mul_(DRAWS / (DRAWS - dropped))
