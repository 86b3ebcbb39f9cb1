"""Roll-outs: each prefix of a caption is completed several times, which tells what a word earns.

Legend: B images, K captions an image, R completions of each prefix, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from captionlab.core.memory import Memory
from captionlab.decoding.generated import Generated, StateT, StepModel
from captionlab.decoding.greedy import roll_out
from captionlab.decoding.sampling import Sampling
from captionlab.objectives.policy_gradient.policy import SpecialIds


@torch.no_grad()
def rollout_values(
    model: StepModel[Memory, StateT],
    memory: Memory,
    captions: Generated,
    *,
    sampling: Sampling,
    completions: int,
    score: Callable[[Generated], Tensor],
    final_scores: Tensor,
    special: SpecialIds,
) -> Tensor:
    """Return the value of captions after each of their words (B,K,T).

    Monte-Carlo search (Yu et al. 2017, equation 4; Dai et al. 2017, equation 7): the value after a
    word is the mean score of ``completions`` captions that begin so; after the last word it is the
    caption's own, of ``final_scores`` (B,K). ``score`` returns the scores (B,KR) of captions, those
    that begin like the first one before those of the second.
    """
    values = final_scores.unsqueeze(-1).repeat(1, 1, captions.tokens.shape[-1])
    prefixes = complete_prefixes(model, memory, captions, sampling, completions, special)
    for step, completed in enumerate(prefixes):
        mean = score(completed).unflatten(1, (-1, completions)).mean(-1)
        # a caption that has ended has nothing to complete
        values[..., step] = torch.where(captions.lengths > step + 1, mean, final_scores)
    return values


def complete_prefixes(
    model: StepModel[Memory, StateT],
    memory: Memory,
    captions: Generated,
    sampling: Sampling,
    completions: int,
    special: SpecialIds,
) -> Iterator[Generated]:
    """Yield, for each word but the last of all, ``completions`` captions that begin up to it (B,KR).

    The decoder takes one step a word, and completions go on from its state there: no prefix is
    read again. A caption that has ended is its own completion.
    """
    tokens, device = captions.tokens, captions.tokens.device
    images, width, length = tokens.shape
    rows = torch.arange(width, device=device).repeat_interleave(completions).expand(images, -1)
    # the beginning is long enough
    processor = replace(sampling, min_length=0).logits_processor(
        **special, encode=None, device=device
    )
    lengths = captions.lengths.gather(1, rows)
    state = model.init_state(memory, width)
    token = torch.full((images, width), special["bos_id"], device=device)
    for step in range(1, length):
        _, state = model.step(token, state)
        token = tokens[..., step - 1]
        rest = roll_out(
            model,
            state.select(rows),
            sampling.drawing(images, rows.shape[1]),
            processor,
            first=token.gather(1, rows),
            max_length=max(1, sampling.max_length - step),
            pad_id=special["pad_id"],
        )
        prefix = tokens[..., :step].gather(1, rows.unsqueeze(-1).expand(-1, -1, step))
        yield _continued(prefix, lengths, rest, special["pad_id"])


def _continued(prefix: Tensor, lengths: Tensor, rest: Generated, pad_id: int) -> Generated:
    """Return whole captions of prefixes (B,KR,t) and what follows; ``lengths`` of those that ended."""
    step = prefix.shape[-1]
    ended = lengths <= step
    suffix = rest.tokens.masked_fill(ended.unsqueeze(-1), pad_id)
    return replace(
        rest,
        tokens=torch.cat([prefix, suffix], -1),
        lengths=torch.where(ended, lengths, step + rest.lengths),
        weights=None,
    )
