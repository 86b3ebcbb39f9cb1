"""What a caption must not be, as small functions of logits (B,W,V).

They set forbidden tokens to -inf and copy the rest: a method chooses from the result and takes
its scores from the logits it had before.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def never_ids(
    *, bos_id: int, eos_id: int, pad_id: int, banned_ids: Iterable[int], device: torch.device
) -> Tensor:
    """Return the ids (n,) that stand in no caption: bos, pad and the banned ones.

    eos is never among them: a caption must be able to end, and some vocabularies (GPT-2's) have
    one id for bos, pad and eos.
    """
    ids = sorted({bos_id, pad_id, *banned_ids} - {eos_id})
    return torch.tensor(ids, dtype=torch.long, device=device)


def ban(logits: Tensor, ids: Tensor) -> Tensor:
    """Return logits (B,W,V) with -inf for the ids (n,)."""
    return logits.index_fill(-1, ids, -torch.inf)


def require_length(logits: Tensor, *, words: int, min_length: int, eos_id: int) -> Tensor:
    """Return logits (B,W,V) with -inf for eos as long as captions have too few words."""
    if words >= min_length:
        return logits
    longer = logits.clone()
    longer[..., eos_id] = -torch.inf
    return longer
