"""The most probable token at every step, and the loop that sampling shares with it.

Legend: B images, T tokens, N memory slots, V vocabulary, W captions an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.constraints import Encode, GenerationConstraints, LogitsProcessor
from captionlab.decoding.generated import Generated, MemoryT, StateT, StepModel
from captionlab.decoding.grown import Grown
from captionlab.decoding.logits import largest
from captionlab.decoding.unfinished import unfinished_images


@dataclass(frozen=True)
class Greedy(GenerationConstraints):
    """Takes the most probable token that the limits allow at every step: one caption an image."""

    def __call__(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int] = (),
        encode: Encode | None = None,
    ) -> Generated:
        """Return one caption an image (W=1); no caption holds bos, pad or a banned id."""
        processor = self.logits_processor(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
            encode=encode,
            device=memory.pooled.device,
        )
        return roll_out(
            model,
            model.init_state(memory, 1),
            most_probable,
            processor,
            first=torch.full((len(memory.pooled), 1), bos_id, device=memory.pooled.device),
            max_length=self.max_length,
            pad_id=pad_id,
        )


# of the log-probabilities (b,W,V) of allowed tokens and the images (b,), None for the whole batch, to
# ids (b,W)
Choose = Callable[[Tensor, Tensor | None], Tensor]


def most_probable(allowed: Tensor, images: Tensor | None = None) -> Tensor:
    """Return the ids (B,W) of the largest scores (B,W,V)."""
    # as in the beam search: half-precision logits tie often, and both must break ties alike
    return largest(allowed, 1)[1].squeeze(-1)


@torch.no_grad()
def roll_out(
    model: StepModel[MemoryT, StateT],
    state: StateT,
    choose: Choose,
    processor: LogitsProcessor,
    *,
    first: Tensor,
    max_length: int,
    pad_id: int,
    width: int | None = None,
) -> Generated:
    """Return captions grown each by itself, in the order of their hypotheses.

    ``state`` is the model's at the start, ``first`` (B,W) the tokens that it reads, the bos tokens
    say; with ``width`` both are (B,1), and so many captions grow from there. Where a model leaves no
    token possible (all logits -inf, or one NaN), the caption ends with log-probability -inf.
    """
    token = first
    width = first.shape[1] if width is None else width
    grown = Grown.none(len(first), width, first.device)
    unfinished = torch.ones(len(first), width, dtype=torch.bool, device=first.device)
    for step in range(max_length):
        logits, state = model.step(token, state)
        scores = logits.log_softmax(-1, dtype=torch.float32)
        history = grown.history() if processor.needs_history else None
        allowed = processor(scores, step, history)
        if token.shape[1] < width:
            state = state.select(torch.zeros_like(unfinished, dtype=torch.long))
            allowed = allowed.expand(-1, width, -1)
        token = choose(allowed, grown.images)
        log_prob = allowed.gather(-1, token[..., None]).squeeze(-1)
        log_prob = log_prob.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
        token = token.masked_fill(log_prob == -torch.inf, processor.eos_id)
        grown.add(token.masked_fill(~unfinished, pad_id), log_prob, state.weights, unfinished)
        unfinished = unfinished & (token != processor.eos_id)
        rest = unfinished_images(step, unfinished)
        if rest is None:
            continue
        if not len(rest):
            break
        grown.go_on_with(rest)
        state, token, unfinished = state.take(rest), token[rest], unfinished[rest]
    return grown.captions(pad_id)
