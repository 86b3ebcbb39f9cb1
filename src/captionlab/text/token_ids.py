"""What the ids of every tokenizer have in common, and the files that hold one."""

from __future__ import annotations

from collections.abc import Iterable

from captionlab.core.special_tokens import SpecialTokens

FORMAT = 1  # of what ``to_dict`` writes


def up_to_eos(ids: Iterable[int]) -> list[int]:
    """Return the ids of real tokens before the first eos."""
    real = []
    for token_id in map(int, ids):
        if token_id == SpecialTokens.EOS:
            break
        if token_id >= SpecialTokens.COUNT:
            real.append(token_id)
    return real
