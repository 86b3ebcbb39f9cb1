"""Who tells a person's caption from a machine's: given the image, three ways.

Legend: B images, K captions an image, T tokens, M real tokens of all captions, D memory width,
V vocabulary, E embedding width, H hidden width.

A discriminator is called with a memory, embedded captions (B,K,T,E) and ``real`` (B,K,T), True on
words and end. It returns scores (B,K), high for captions it takes for a person's. It embeds ids, or,
for a gradient through the words, distributions over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from captionlab.errors import UserError
from captionlab.memory import Memory


class Discriminator(nn.Module):
    """The base: embedded words, and the pooled image.

    At build time come ``vocabulary_size`` and ``memory_dim``. ``spectral`` bounds every linear
    layer (Miyato et al. 2018).
    """

    def __init__(
        self,
        *,
        embedding: int,
        hidden: int,
        dropout: float,
        spectral: bool,
        vocabulary_size: int,
        memory_dim: int,
    ) -> None:
        super().__init__()
        if embedding < 1 or hidden < 1:
            raise UserError(
                f"objective.discriminator.embedding={embedding} and hidden={hidden} must be at "
                "least 1"
            )
        self.spectral = spectral
        self.words = nn.Embedding(vocabulary_size, embedding)
        self.image = self.linear(memory_dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def linear(self, inputs: int, outputs: int) -> nn.Module:
        """Return a linear layer, its norm bounded if so chosen."""
        layer = nn.Linear(inputs, outputs)
        return spectral_norm(layer) if self.spectral else layer

    # whether the captions of an image are judged together
    sets = False

    def embed(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return embedded words (B,K,T,E) of ids (B,K,T), zero where there is no word."""
        return self.words(ids) * real.unsqueeze(-1)

    def embed_soft(self, words: Tensor, real: Tensor) -> Tensor:
        """Return the same of distributions over words (M,V) in the places of ``real`` (B,K,T)."""
        embedded = words @ self.words.weight
        placed = embedded.new_zeros(*real.shape, embedded.shape[-1])
        return placed.masked_scatter(real.unsqueeze(-1), embedded)


class MatchingDiscriminator(Discriminator):
    """Score = f(image) . g(caption) (Dai et al. 2017, equation 3).

    g reads the words with a GRU. It knows captions that do not belong to the image as a third kind,
    so what fits another image does not pass.
    """

    def __init__(
        self,
        *,
        embedding: int = 128,
        hidden: int = 128,
        dropout: float = 0.1,
        spectral: bool = False,
        vocabulary_size: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            embedding=embedding,
            hidden=hidden,
            dropout=dropout,
            spectral=spectral,
            vocabulary_size=vocabulary_size,
            memory_dim=memory_dim,
        )
        self.reader = nn.GRU(embedding, hidden, batch_first=True)
        self.caption = self.linear(hidden, hidden)

    def forward(self, memory: Memory, embedded: Tensor, real: Tensor) -> Tensor:
        """Return scores (B,K)."""
        read = last_state(self.reader, self.dropout(embedded), real)
        image = self.image(memory.pooled.float()).unsqueeze(1)
        return (image * self.caption(read)).sum(-1) / image.shape[-1] ** 0.5


class CNNDiscriminator(Discriminator):
    """Convolutions over words, their largest answers, and the image, in two layers (Kim 2014)."""

    def __init__(
        self,
        *,
        embedding: int = 128,
        hidden: int = 128,
        windows: Sequence[int] = (1, 2, 3, 4),
        dropout: float = 0.1,
        spectral: bool = False,
        vocabulary_size: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            embedding=embedding,
            hidden=hidden,
            dropout=dropout,
            spectral=spectral,
            vocabulary_size=vocabulary_size,
            memory_dim=memory_dim,
        )
        if not windows or min(windows) < 1:
            raise UserError(
                f"objective.discriminator.windows={list(windows)} must be lengths of at least 1"
            )
        self.windows = list(windows)
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, hidden, w) for w in windows)
        self.join = self.linear(hidden * (len(self.windows) + 1), hidden)
        self.score = self.linear(hidden, 1)

    def forward(self, memory: Memory, embedded: Tensor, real: Tensor) -> Tensor:
        """Return scores (B,K)."""
        words = self.dropout(embedded).flatten(0, 1).transpose(1, 2)  # (BK,E,T)
        words = F.pad(words, (0, max(0, max(self.windows) - words.shape[-1])))
        found = [layer(words).relu().amax(-1) for layer in self.convolutions]
        image = self.image(memory.pooled.float()).relu()
        image = image.repeat_interleave(real.shape[1], 0)
        joined = F.leaky_relu(self.join(torch.cat([*found, image], -1)), 0.2)
        return self.score(joined).view(real.shape[:2])


class SetDiscriminator(Discriminator):
    """Judges the captions of an image together: captions that are alike are a machine's.

    Shetty et al. 2017, section 3.2: each caption is compared with the others of its image by
    ``kernels`` learned distances (minibatch discrimination, Salimans et al. 2016), and with the
    image. Every caption of a set gets the set's score.
    """

    sets = True

    def __init__(
        self,
        *,
        embedding: int = 128,
        hidden: int = 128,
        kernels: int = 16,
        kernel_dim: int = 8,
        dropout: float = 0.1,
        spectral: bool = False,
        vocabulary_size: int,
        memory_dim: int,
    ) -> None:
        super().__init__(
            embedding=embedding,
            hidden=hidden,
            dropout=dropout,
            spectral=spectral,
            vocabulary_size=vocabulary_size,
            memory_dim=memory_dim,
        )
        self.kernels = kernels
        self.reader = nn.GRU(embedding, hidden, batch_first=True)
        self.compare = self.linear(hidden, kernels * kernel_dim)
        self.join = self.linear(2 * hidden + kernels, hidden)
        self.score = self.linear(hidden, 1)

    def forward(self, memory: Memory, embedded: Tensor, real: Tensor) -> Tensor:
        """Return scores (B,K), the same for all captions of an image."""
        read = last_state(self.reader, self.dropout(embedded), real)
        count = real.shape[1]
        places = self.compare(read).unflatten(-1, (self.kernels, -1))
        apart = (places.unsqueeze(1) - places.unsqueeze(2)).abs().sum(-1)  # (B,K,K,kernels)
        # a caption is no neighbor of its own
        near = ((-apart).exp().sum(2) - 1) / max(1, count - 1)
        image = self.image(memory.pooled.float()).unsqueeze(1).expand(-1, count, -1)
        joined = F.leaky_relu(self.join(torch.cat([read, image * read, near], -1)), 0.2)
        return self.score(joined).squeeze(-1).mean(1, keepdim=True).expand(-1, count)


def last_state(reader: nn.GRU, words: Tensor, real: Tensor) -> Tensor:
    """Return the state (B,K,H) after the last real word of each caption, zero for none."""
    hidden, _ = reader(words.flatten(0, 1))
    lengths = real.sum(-1).flatten()
    rows = torch.arange(len(hidden), device=hidden.device)
    last = hidden[rows, (lengths - 1).clamp_min(0)] * (lengths > 0).unsqueeze(-1)
    return last.view(*real.shape[:2], -1)
