"""Captions drawn at random from the model's distribution, or from its most probable part.

Legend: B images, W samples an image, V vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.decoding.constraints import Encode, GenerationConstraints
from captionlab.decoding.generated import (
    Generated,
    MemoryT,
    StateT,
    StepModel,
    image_index,
    is_number,
    require_integer,
)
from captionlab.decoding.greedy import Choose, roll_out

# Probabilities are counted in whole units of 2^-30 before they are summed up: such sums do not
# depend on the order of adding, and torch's deterministic mode refuses float ones on a GPU.
UNITS = 2**30
NOISE = 2**31  # places for a draw: times the units it still fits 64 bits
SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Sampling(GenerationConstraints):
    """Draws every token at random: ``num_samples`` captions an image, most probable first.

    ``temperature``: logits are divided by it; towards 0 it becomes greedy. ``top_k``: draw from the
    k most probable tokens (Fan 2018). ``top_p``: draw from the nucleus, the fewest most probable
    tokens that together have at least this probability (Holtzman 2020), after temperature and
    top_k. ``typical_p``: draw from the tokens whose information is nearest to the entropy and that
    together have at least this probability (Meister 2023), in place of top_p. ``num_captions``:
    keep so many different ones of the samples; None keeps all, also those drawn twice. ``seed``: the
    same call then draws the same captions; None draws from torch's global generator. A model with
    latent variables draws them anew for each sample. UserError for a value that cannot be.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    num_samples: int = 1
    num_captions: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer("num_samples", self.num_samples, at_least=1)
        if self.num_captions is not None:
            require_integer("num_captions", self.num_captions, at_least=1)
            if self.num_captions > self.num_samples:
                raise UserError(
                    f"decoding.num_captions={self.num_captions} must not exceed "
                    f"decoding.num_samples={self.num_samples}"
                )
        if not is_number(self.temperature) or self.temperature <= 0:
            raise UserError(
                f"decoding.temperature={self.temperature!r} must be a number above 0; "
                "decoding=greedy is its limit at 0"
            )
        if self.top_k is not None:
            require_integer("top_k", self.top_k, at_least=1)
        for key in ("top_p", "typical_p"):
            value = getattr(self, key)
            if value is not None and not (is_number(value) and 0 < value <= 1):
                raise UserError(
                    f"decoding.{key}={value!r} must be a number above 0 and at most 1, or null"
                )
        if self.typical_p is not None and (self.top_p is not None or self.top_k is not None):
            raise UserError("decoding.typical_p chooses by itself: set top_k=null and top_p=null")
        if self.seed is not None:
            require_integer("seed", self.seed, at_least=0)

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
        noise: Tensor | None = None,
    ) -> Generated:
        """Return W=num_captions or num_samples captions an image, without bos, pad or banned ids.

        ``noise`` (B,num_samples,max_length), int64 from 0 to 2^31, decides the draws where given,
        those of a latent too; ``noise_of`` makes it of the images themselves, whatever batch they
        come in.
        """
        generator = None
        if self.seed is not None:
            generator = torch.Generator(memory.pooled.device).manual_seed(self.seed)
        device, images = memory.pooled.device, len(memory.pooled)
        processor = self.logits_processor(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=banned_ids,
            encode=encode,
            device=device,
        )
        state, width = self._init_state(model, memory, generator, noise)
        drawn = roll_out(
            model,
            state,
            self.drawing(images, self.num_samples, generator, noise),
            processor,
            first=torch.full((images, width), bos_id, device=device),
            max_length=self.max_length,
            pad_id=pad_id,
            width=self.num_samples,
        )
        drawn = best_first(drawn)
        return drawn if self.num_captions is None else distinct(drawn, self.num_captions, pad_id)

    def drawing(
        self,
        images: int,
        width: int,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Choose:
        """Return ``draw`` for the steps of a batch; ``noise`` as ``__call__`` takes it.

        An image's draws are the same whichever other images have ended.
        """
        steps = None if noise is None else iter(noise.unsqueeze(-1).unbind(2))

        def choose(allowed: Tensor, among: Tensor | None) -> Tensor:
            if steps is None:
                shape = (images, width, 1)
                place = torch.randint(NOISE, shape, generator=generator, device=allowed.device)
            else:
                place = next(steps).to(allowed.device)
            return self.draw(allowed, place=place if among is None else place[among])

        return choose

    def _init_state(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        generator: torch.Generator | None,
        noise: Tensor | None,
    ) -> tuple[StateT, int]:
        """Return the state before the first token, and its width.

        What is latent in a model is drawn a sample; without that all samples are alike, and one
        hypothesis stands for them.
        """
        sample_init_state = getattr(model, "sample_init_state", None)
        if sample_init_state is None:
            return model.init_state(memory, 1), 1
        seeds = None if noise is None else noise[:, 0, 0].tolist()
        drawn: StateT = sample_init_state(memory, self.num_samples, generator, seeds)
        return drawn, self.num_samples

    def draw(
        self,
        logits: Tensor,
        generator: torch.Generator | None = None,
        place: Tensor | None = None,
    ) -> Tensor:
        """Return ids (B,W) drawn from float32 logits (B,W,V); -inf is never drawn.

        ``place`` (B,W,1), int64 from 0 to 2^31, is the draw itself where given.
        """
        ids = None
        if self.typical_p is not None:
            logits = typical(logits / self.temperature, self.typical_p) * self.temperature
        if self.top_k is not None:
            logits, ids = logits.topk(min(self.top_k, logits.shape[-1]), dim=-1)
        elif self.top_p is not None:
            logits, ids = logits.sort(dim=-1, descending=True)
        if self.temperature != 1:
            # the largest logit becomes 0 before the division: any temperature then stays finite there
            logits = (logits - logits.amax(-1, keepdim=True)) / max(self.temperature, SMALLEST)
        upto = logits.softmax(-1).nan_to_num_().mul_(UNITS).long().cumsum(-1)
        within = upto[..., -1:] if self.top_p is None else nucleus(upto, self.top_p)
        if place is None:
            place = torch.randint(NOISE, within.shape, generator=generator, device=logits.device)
        # a row of -inf or NaN has nothing within: any index will do, roll_out ends that caption
        # a share of the units, not a remainder: rounding of the logits moves the draw by a unit
        index = torch.searchsorted(upto, (place * within) // NOISE, right=True)
        index = index.clamp_max(logits.shape[-1] - 1)
        return (index if ids is None else ids.gather(-1, index)).squeeze(-1)


def noise_of(image_ids: Sequence[object], samples: int, length: int, seed: int = 0) -> Tensor:
    """Return noise (B,samples,length) for ``Sampling`` that depends on each image's id alone."""
    generator = torch.Generator()
    rows = []
    for image_id in image_ids:
        generator.manual_seed(zlib.crc32(f"{seed} {image_id}".encode()))
        rows.append(torch.randint(NOISE, (samples, length), generator=generator))
    return torch.stack(rows)


def nucleus(upto: Tensor, top_p: float) -> Tensor:
    """Return the units (B,W,1) in the fewest tokens that together have probability ``top_p``.

    ``upto`` (B,W,V): units of each token and all more probable ones. The token that crosses
    ``top_p`` is in; a sum that misses it by a millionth, as rounding makes it, has reached it.
    """
    enough = upto >= (top_p - 1e-6) * upto[..., -1:]
    return upto.gather(-1, enough.long().argmax(-1, keepdim=True))


def typical(logits: Tensor, share: float) -> Tensor:
    """Return logits (B,W,V) with -inf outside of the locally typical set (Meister 2023, section 4).

    These are the fewest tokens with the least |entropy + log p| that together have ``share``.
    """
    log_probs = logits.log_softmax(-1)
    probs = log_probs.exp()
    entropy = torch.special.entr(probs).sum(-1, keepdim=True)
    strange, order = (entropy + log_probs).abs().nan_to_num(nan=torch.inf).sort(dim=-1, stable=True)
    before = probs.gather(-1, order).cumsum(-1) - probs.gather(-1, order)
    outside = (before >= share - 1e-6) | (strange == torch.inf)
    return logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)


def distinct(drawn: Generated, count: int, pad_id: int) -> Generated:
    """Return the first ``count`` different captions of each image; free places have length 0.

    Those of an image are compared all with all at once: (B,W,W,T).
    """
    same = (drawn.tokens.unsqueeze(1) == drawn.tokens.unsqueeze(2)).all(-1)
    again = same.tril(-1).any(-1)  # an earlier one is equal
    order = again.long().argsort(dim=1, stable=True)[:, :count]
    image, repeated = image_index(order), again.gather(1, order)
    tokens = drawn.tokens[image, order].masked_fill(repeated[..., None], pad_id)
    weights = None if drawn.weights is None else drawn.weights[image, order]
    return Generated(
        tokens=tokens,
        lengths=drawn.lengths[image, order].masked_fill(repeated, 0),
        scores=drawn.scores[image, order].masked_fill(repeated, -torch.inf),
        log_probs=drawn.log_probs[image, order].masked_fill(repeated, -torch.inf),
        weights=None if weights is None else weights * ~repeated[..., None, None],
    )


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
