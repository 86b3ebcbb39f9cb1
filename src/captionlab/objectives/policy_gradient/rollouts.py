"""What each word of a caption is worth: the caption's beginning is completed several times.

Legend: B images, K captions an image, R completions of each beginning, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated, StepModel
from captionlab.decoding.greedy import roll_out
from captionlab.decoding.sampling import Sampling


@torch.no_grad()
def values(
    model: StepModel,
    memory: Memory,
    drawn: Generated,
    *,
    sampling: Sampling,
    completions: int,
    judge: Callable[[Generated], Tensor],
    whole: Tensor,
    special: Mapping[str, Any],
) -> Tensor:
    """Return what the captions are worth after each of their words (B,K,T).

    Monte-Carlo search (Yu et al. 2017, equation 4; Dai et al. 2017, equation 7): the value after a
    word is the mean worth of ``completions`` captions that begin so, after the last word ``whole``
    (B,K), the caption's own. ``judge`` returns the worth (B,KR) of captions, those that begin like
    the first one before those of the second. ``special``: the ids that decoding asks for.
    """
    found = whole.unsqueeze(-1).repeat(1, 1, drawn.tokens.shape[-1])
    begun = completed(model, memory, drawn, sampling, completions, special)
    for step, captions in enumerate(begun):
        mean = judge(captions).unflatten(1, (-1, completions)).mean(-1)
        # a caption that has ended has nothing to complete
        found[..., step] = torch.where(drawn.lengths > step + 1, mean, whole)
    return found


def completed(
    model: StepModel,
    memory: Memory,
    drawn: Generated,
    sampling: Sampling,
    completions: int,
    special: Mapping[str, Any],
) -> Iterator[Generated]:
    """Yield, for each word but the last of all, ``completions`` captions that begin up to it (B,KR).

    The decoder takes one step a word, and completions go on from its state there: no beginning is
    read again. A caption that has ended is its own completion.
    """
    tokens, device = drawn.tokens, drawn.tokens.device
    images, width, length = tokens.shape
    rows = torch.arange(width, device=device).repeat_interleave(completions).expand(images, -1)
    # the beginning is long enough
    rules = replace(sampling, min_length=0).logits_processor(**special, encode=None, device=device)
    lengths = drawn.lengths.gather(1, rows)
    state = model.init_state(memory, width)
    token = torch.full((images, width), special["bos_id"], device=device)
    for step in range(1, length):
        _, state = model.step(token, state)
        token = tokens[..., step - 1]
        rest = roll_out(
            model,
            state.select(rows),
            sampling.draw,
            rules,
            first=token.gather(1, rows),
            max_length=max(1, sampling.max_length - step),
            pad_id=special["pad_id"],
        )
        ended = lengths <= step
        begun = tokens[..., :step].gather(1, rows.unsqueeze(-1).expand(-1, -1, step))
        after = rest.tokens.masked_fill(ended.unsqueeze(-1), special["pad_id"])
        yield replace(
            rest,
            tokens=torch.cat([begun, after], -1),
            lengths=torch.where(ended, lengths, step + rest.lengths),
            weights=None,
        )
