"""Captions drawn at random from the model's distribution, or from its most probable part.

Legend: B images, W samples an image, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.decoding.generated import (
    BatchMemory,
    Generated,
    StepModel,
    check_lengths,
    check_whole,
    image_index,
    is_number,
)
from captionlab.decoding.greedy import roll_out
from captionlab.errors import UserError

# Probabilities are counted in whole units of 2^-30 before they are summed up: such sums do not
# depend on the order of adding, and torch's deterministic mode refuses float ones on a GPU.
UNITS = 2**30
SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Sampling:
    """Draws every token at random: ``num_samples`` captions an image, most probable first.

    ``temperature``: logits are divided by it; towards 0 it becomes greedy. ``top_k``: draw from the
    k most probable tokens (Fan 2018). ``top_p``: draw from the nucleus, the fewest most probable
    tokens that together have at least this probability (Holtzman 2020), after temperature and
    top_k. ``seed``: the same call then draws the same captions; None draws from torch's global
    generator. ``max_length``, ``min_length`` as in Greedy. UserError for a value that cannot be.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    num_samples: int = 1
    max_length: int = 20
    min_length: int = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        check_lengths(self.min_length, self.max_length)
        check_whole("num_samples", self.num_samples, at_least=1)
        if not is_number(self.temperature) or self.temperature <= 0:
            raise UserError(
                f"decoding.temperature={self.temperature!r} must be a number above 0; "
                "decoding=greedy is its limit at 0"
            )
        if self.top_k is not None:
            check_whole("top_k", self.top_k, at_least=1)
        if self.top_p is not None and not (is_number(self.top_p) and 0 < self.top_p <= 1):
            raise UserError(
                f"decoding.top_p={self.top_p!r} must be a number above 0 and at most 1, or null"
            )
        if self.seed is not None:
            check_whole("seed", self.seed, at_least=0)

    def __call__(
        self,
        model: StepModel,
        memory: BatchMemory,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int] = (),
    ) -> Generated:
        """Return W=num_samples captions an image; none holds bos, pad or a banned id."""
        generator = None
        if self.seed is not None:
            generator = torch.Generator(memory.pooled.device).manual_seed(self.seed)

        drawn = roll_out(
            model,
            memory,
            lambda logits: self.draw(logits, generator),
            width=self.num_samples,
            max_length=self.max_length,
            min_length=self.min_length,
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
        )
        return best_first(drawn)

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ids (B,W) drawn from float32 logits (B,W,V); -inf is never drawn."""
        ids = None
        if self.top_k is not None:
            logits, ids = logits.topk(min(self.top_k, logits.shape[-1]), dim=-1)
        elif self.top_p is not None:
            logits, ids = logits.sort(dim=-1, descending=True)
        # the largest logit becomes 0 before the division: any temperature then stays finite there
        logits = (logits - logits.amax(-1, keepdim=True)) / max(self.temperature, SMALLEST)
        upto = (logits.softmax(-1).nan_to_num() * UNITS).long().cumsum(-1)
        within = upto[..., -1:] if self.top_p is None else nucleus(upto, self.top_p)
        place = torch.randint(2**62, within.shape, generator=generator, device=logits.device)
        # a row of -inf or NaN has nothing within: any index will do, roll_out ends that caption
        index = torch.searchsorted(upto, place % within.clamp_min(1), right=True)
        index = index.clamp_max(logits.shape[-1] - 1)
        return (index if ids is None else ids.gather(-1, index)).squeeze(-1)


def nucleus(upto: Tensor, top_p: float) -> Tensor:
    """Return the units (B,W,1) in the fewest tokens that together have probability ``top_p``.

    ``upto`` (B,W,V): units of each token and all more probable ones. The token that crosses
    ``top_p`` is in; a sum that misses it by a millionth, as rounding makes it, has reached it.
    """
    enough = upto >= (top_p - 1e-6) * upto[..., -1:]
    return upto.gather(-1, enough.long().argmax(-1, keepdim=True))


def best_first(drawn: Generated) -> Generated:
    """Return the same captions, those of each image in the order of their scores."""
    scores, order = drawn.scores.sort(dim=1, descending=True, stable=True)
    image = image_index(order)
    return Generated(
        tokens=drawn.tokens[image, order],
        lengths=drawn.lengths[image, order],
        scores=scores,
        log_probs=drawn.log_probs[image, order],
        weights=None if drawn.weights is None else drawn.weights[image, order],
    )
