"""A recurrent decoder with a latent variable: what a caption is about is chosen before its words.

Legend: B images, K captions an image, T tokens, W beams, D memory width, E embedding width,
H width of ``hidden``, Z latent width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.recurrent.attentive import Attend
from captionlab.models.decoders.recurrent.cell import RecurrentCell
from captionlab.models.decoders.recurrent.decoder import (
    DeepOutput,
    RecurrentDecoder,
    RecurrentDecoderState,
    unpack_output,
)
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.decoders.recurrent.rnn import rnn_parts

# of a log-variance: beyond it a latent says nothing more, and its exponential stays finite
_LIMIT = 10.0


class Gaussian(NamedTuple):
    """Independent normal distributions: means and log-variances (..., Z)."""

    mean: Tensor
    log_variance: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Return the points at which standard normal ``noise`` (..., Z) falls."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def kl(self, other: Gaussian) -> Tensor:
        """Return the divergence of this from ``other`` in each dimension (..., Z), in nats."""
        ratio = self.log_variance - other.log_variance
        distance = (self.mean - other.mean).square() * (-other.log_variance).exp()
        return (ratio.exp() + distance - 1 - ratio) / 2


class ToGaussian(nn.Sequential):
    """A hidden layer and a normal distribution that depends on its input."""

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))

    def forward(self, inputs: Tensor) -> Gaussian:
        """Return distributions over (..., Z) of inputs (..., I), in float32 at least."""
        mean, log_variance = super().forward(inputs).chunk(2, dim=-1)
        if mean.dtype in (torch.float16, torch.bfloat16):
            mean, log_variance = mean.float(), log_variance.float()
        return Gaussian(mean, log_variance.clamp(-_LIMIT, _LIMIT))


def latent_noise(
    shape: tuple[int, int, int],
    device: torch.device,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
) -> Tensor:
    """Return standard normal noise (B, W, Z).

    ``generator`` belongs to the device; None is torch's global one. ``seeds``, one an image, decide
    the draws where given, whatever the batch.
    """
    if seeds is None:
        return torch.randn(shape, generator=generator, device=device)
    draws = [
        torch.randn(shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds
    ]
    return torch.stack(draws).to(device)


class LatentDecoder(RecurrentDecoder):
    """A recurrent decoder whose words depend on a latent z of the whole caption, added to every word.

    A conditional variational autoencoder (Kingma and Welling 2014; conditional: Sohn et al. 2015,
    equation 4; for captions Wang et al. 2017): the prior p(z | image) is learned, the posterior
    q(z | image, caption) reads the caption in both directions. In training z is drawn from the
    posterior; in evaluation it is the prior's mean, so that no caption is told of itself. As z
    enters the first word (bos) like every other, no step is taken without it. ``latent`` is Z; all
    else as in ``RecurrentDecoder``. Raises UserError for a ``latent`` below 1.
    """

    def __init__(
        self,
        cell: RecurrentCell[Any],
        *,
        latent: int,
        embedding: int,
        dropout: float,
        vocabulary_size: int,
        pad_id: int,
        memory_dim: int,
        pooled_dim: int,
        readout: DeepOutput | None = None,
        tie_weights: bool = False,
    ) -> None:
        super().__init__(
            cell,
            embedding=embedding,
            dropout=dropout,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            pooled_dim=pooled_dim,
            readout=readout,
            tie_weights=tie_weights,
        )
        hidden = cell.hidden
        self.latent = latent
        self.prior = ToGaussian(pooled_dim, hidden, latent)
        self.reader = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.posterior = ToGaussian(pooled_dim + 2 * hidden, hidden, latent)
        self.meaning = nn.Linear(latent, embedding, bias=False)

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return what a ``RecurrentDecoder`` does, and the latent's ``kl`` (B, K, Z).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad). ``kl`` is of no meaning where a
        caption is absent. Raises UserError as ``RecurrentDecoder`` does.
        """
        memory.require_width(self.memory_dim, "decoder", self.pooled_dim)
        prior = self._prior(memory)
        posterior = self._posterior(memory, tokens)
        if self.training:
            latent = posterior.draw(torch.randn_like(posterior.mean))
        else:
            latent = prior.mean.expand_as(posterior.mean)
        packing = Packing(tokens, self.pad_id)
        latents = latent.unsqueeze(2).expand(-1, -1, tokens.shape[-1], -1)
        words = self.embed(packing.pack(tokens), packing.pack(latents))
        output = self.cell.unroll(words, packing, self.cell.refine(memory).as_computed())
        result = unpack_output(packing, self.project_output(words, output), output)
        return result._replace(kl=posterior.kl(prior))

    def embed(self, tokens: Tensor, latent: Tensor | None = None) -> Tensor:
        """Return embedded words (..., E) of ids (...), each with what the latent (..., Z) adds."""
        assert latent is not None
        words = self.cell.activate(self.words(tokens))
        return self.dropout(words + self.meaning(latent.to(words.dtype)))

    def init_state(self, memory: Memory, width: int) -> RecurrentDecoderState:
        """Return the state before the first token, every beam with the prior's mean.

        Raises UserError for a memory of another width, or without a real slot.
        """
        state = super().init_state(memory, width)
        return replace(state, latent=self._prior(memory).mean.expand(-1, width, -1))

    def sample_init_state(
        self,
        memory: Memory,
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> RecurrentDecoderState:
        """Return the state before the first token, every beam with a latent drawn from the prior.

        ``generator`` belongs to the memory's device; None is torch's global one. ``seeds``, one an
        image, decide the draws where given, whatever the batch. Raises UserError as ``init_state``.
        """
        shape = (memory.pooled.shape[0], width, self.latent)
        noise = latent_noise(shape, memory.pooled.device, generator, seeds)
        return self.init_state_with(memory, noise)

    def init_state_with(self, memory: Memory, noise: Tensor) -> RecurrentDecoderState:
        """Return the state before the first token, every beam with the latent at which its noise falls.

        ``noise`` (B, W, Z) is standard normal; zeros are the prior's mean. Raises UserError as
        ``init_state``.
        """
        state = super().init_state(memory, noise.shape[1])
        return replace(state, latent=self._prior(memory).draw(noise))

    def _prior(self, memory: Memory) -> Gaussian:
        return Gaussian(*(part.unsqueeze(1) for part in self.prior(memory.pooled)))

    def _posterior(self, memory: Memory, tokens: Tensor) -> Gaussian:
        rows = tokens.flatten(0, 1)
        # an absent caption is read as one padding token: packing wants at least one
        lengths = (rows != self.pad_id).sum(-1).clamp_min(1).cpu()
        packed = pack_padded_sequence(
            self.words(rows), lengths, batch_first=True, enforce_sorted=False
        )
        read = self.reader(packed)[1].transpose(0, 1).flatten(1).unflatten(0, tokens.shape[:2])
        pooled = memory.pooled.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        return self.posterior(torch.cat([pooled.to(read.dtype), read], dim=-1))


def latent_decoder(
    cell: str = "lstm",
    *,
    latent: int = 64,
    layers: int = 1,
    hidden: int = 512,
    embedding: int = 512,
    dropout: float = 0.5,
    deep_output: bool = True,
    attend: Attend = "before",
    tie_weights: bool = False,
    vocabulary_size: int,
    pad_id: int,
    memory_dim: int,
    pooled_dim: int | None = None,
    attention: Attention | NoAttention,
) -> LatentDecoder:
    """Return a ``LatentDecoder``; ``latent`` is its width, all else as in ``rnn_decoder``."""
    if latent < 1:
        raise UserError(f"a latent decoder needs at least one dimension, got latent={latent}")
    pooled_dim = memory_dim if pooled_dim is None else pooled_dim
    parts = rnn_parts(
        cell,
        attention,
        layers=layers,
        hidden=hidden,
        embedding=embedding,
        dropout=dropout,
        deep_output=deep_output,
        attend=attend,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )
    return LatentDecoder(
        **parts,
        latent=latent,
        embedding=embedding,
        dropout=dropout,
        tie_weights=tie_weights,
        vocabulary_size=vocabulary_size,
        pad_id=pad_id,
        memory_dim=memory_dim,
        pooled_dim=pooled_dim,
    )
