"""A recurrent decoder with a latent variable: what a caption is about is chosen before its words.

Legend: B images, K captions an image, T tokens, W beams, D memory width, E embedding width,
H width of ``hidden``, Z latent width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.base import Attention, NoAttention
from captionlab.models.captioner import Decoded
from captionlab.models.decoders.recurrent.packing import Packing
from captionlab.models.decoders.recurrent.recurrence import Attend, RNNState
from captionlab.models.decoders.recurrent.rnn_decoder import RNNDecoder, decoded
from captionlab.models.state import PER_BEAM

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


@dataclass(frozen=True, kw_only=True)
class LatentState(RNNState):
    """An RNN decoder's state and the latent (B, W, Z) that each beam was begun with."""

    latent: Tensor = field(metadata=PER_BEAM)


class LatentRNNDecoder(RNNDecoder):
    """An RNN decoder whose words depend on a latent z of the whole caption, added to every word.

    A conditional variational autoencoder (Kingma and Welling 2014; conditional: Sohn et al. 2015,
    equation 4; for captions Wang et al. 2017): the prior p(z | image) is learned, the posterior
    q(z | image, caption) reads the caption in both directions. In training z is drawn from the
    posterior; in evaluation it is the prior's mean, so that no caption is told of itself. As z
    enters the first word (bos) like every other, no step is taken without it. ``latent`` is Z; all
    else as in ``RNNDecoder``. Raises UserError for a ``latent`` below 1.
    """

    def __init__(
        self,
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
        attention: Attention | NoAttention,
    ) -> None:
        if latent < 1:
            raise UserError(f"a latent decoder needs at least one dimension, got latent={latent}")
        super().__init__(
            cell,
            layers=layers,
            hidden=hidden,
            embedding=embedding,
            dropout=dropout,
            deep_output=deep_output,
            attend=attend,
            tie_weights=tie_weights,
            vocabulary_size=vocabulary_size,
            pad_id=pad_id,
            memory_dim=memory_dim,
            attention=attention,
        )
        self.prior = ToGaussian(memory_dim, hidden, latent)
        self.reader = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.posterior = ToGaussian(memory_dim + 2 * hidden, hidden, latent)
        self.meaning = nn.Linear(latent, embedding, bias=False)

    def forward(self, memory: Memory, tokens: Tensor) -> Decoded:
        """Return what an ``RNNDecoder`` does, and the latent's ``kl`` (B, K, Z).

        ``tokens`` (B, K, T) are inputs (bos w1 .. wn, then pad). ``kl`` is of no meaning where a
        caption is absent. Raises UserError as ``RNNDecoder`` does.
        """
        memory.require_width(self.memory_dim, "decoder")
        prior = Gaussian(*(part.unsqueeze(1) for part in self.prior(memory.pooled)))
        posterior = self._posterior(memory, tokens)
        if self.training:
            latent = posterior.draw(torch.randn_like(posterior.mean))
        else:
            latent = prior.mean.expand_as(posterior.mean)
        packing = Packing(tokens, self.pad_id)
        length = tokens.shape[-1]
        meanings = self._meaning(latent).unsqueeze(2).expand(-1, -1, length, -1)
        words = self.dropout(self.words(packing.pack(tokens)) + packing.pack(meanings))
        look = self.recurrence.run(words, packing, memory)
        found = decoded(packing, self._read(words, look), look)
        return found._replace(kl=posterior.kl(prior))

    def init_state(self, memory: Memory, width: int) -> LatentState:
        """Return the state before the first token, every beam with the prior's mean.

        Raises UserError for a memory of another width, or without a real slot.
        """
        latent = self.prior(memory.pooled).mean.unsqueeze(1).expand(-1, width, -1)
        return self._begin(memory, latent)

    def sample_init_state(
        self,
        memory: Memory,
        width: int,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> LatentState:
        """Return the state before the first token, every beam with a latent drawn from the prior.

        ``generator`` belongs to the memory's device; None is torch's global one. ``seeds``, one an
        image, decide the draws where given, whatever the batch. Raises UserError as ``init_state`` does.
        """
        memory.require_width(self.memory_dim, "decoder")
        prior = Gaussian(*(part.unsqueeze(1) for part in self.prior(memory.pooled)))
        mean = prior.mean
        if seeds is None:
            noise = torch.randn(
                (len(mean), width, mean.shape[-1]),
                generator=generator,
                device=mean.device,
                dtype=mean.dtype,
            )
        else:
            drawn = [
                torch.randn(width, mean.shape[-1], generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ]
            noise = torch.stack(drawn).to(mean)
        return self._begin(memory, prior.draw(noise))

    def step(self, token_ids: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Return logits (B, W, V) of the word after ``token_ids`` (B, W), and the next state."""
        assert isinstance(state, LatentState)
        words = self.dropout(self.words(token_ids) + self._meaning(state.latent))
        look, following = self.recurrence.step(words, state)
        return self.logits(self._read(words, look)), following

    def _begin(self, memory: Memory, latent: Tensor) -> LatentState:
        state = super().init_state(memory, latent.shape[1])
        parts: dict[str, Any] = {item.name: getattr(state, item.name) for item in fields(state)}
        return LatentState(**parts, latent=latent)

    def _meaning(self, latent: Tensor) -> Tensor:
        return self.meaning(latent.to(self.meaning.weight.dtype))

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
