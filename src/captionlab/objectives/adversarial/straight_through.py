"""Words that are hard forward and soft backward, so that a gradient reaches what chose them.

Legend: M tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def straight_through(logits: Tensor, words: Tensor, temperature: float) -> Tensor:
    """Return one-hot words (M,V) whose gradient is that of softmax((logits + g) / temperature).

    ``logits`` (M,V), ``words`` (M,) drawn from them. g is Gumbel noise given that the drawn word is
    the largest: its maximum is Gumbel with location logsumexp, the others are cut off below it
    (Maddison et al. 2014, "A* Sampling", section 3).
    """
    tiny = torch.finfo(logits.dtype).tiny
    noise = -torch.empty_like(logits).exponential_().clamp_min(tiny).log()
    chosen = words.unsqueeze(-1)
    with torch.no_grad():
        total = logits.logsumexp(-1, keepdim=True)
        largest = total + noise.gather(-1, chosen)
        # -log(exp(-largest) + exp(-(logits + noise))), below the largest
        below = -torch.logaddexp(-largest, -(logits + noise))
        perturbed = below.scatter(-1, chosen, largest)
        shift = perturbed - logits
    soft = ((logits + shift) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter(-1, chosen, 1.0)
    return hard + soft - soft.detach()
