"""Discriminators, which tell real captions of an image from generated ones: three of them.

Legend: B images, K captions an image, T tokens, M real tokens of all captions, D memory width,
V vocabulary, E embedding width, H hidden width, F features, R width of an encoded caption.

A discriminator is called with a memory, embedded captions (B,K,T,E) and their ``mask`` (B,K,T), True
on words and end. It returns scores (B,K), high for captions it takes for mask, and what they are
made of: F features a caption. It embeds ids, or, for a gradient through the words, distributions
over them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory


class DiscriminatorOutput(NamedTuple):
    """Scores (B,K), and the features (B,K,F) that they are made of."""

    scores: Tensor
    features: Tensor


class Discriminator(nn.Module, ABC):
    """The base: embedded words, and the pooled image.

    At build time come ``vocabulary_size`` and ``memory_dim``. ``spectral`` bounds every linear
    layer (Miyato et al. 2018).
    """

    scores_sets = False  # whether the captions of an image are scored together

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

    @abstractmethod
    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return encoded captions (B,K,R), before an image is looked at."""

    @abstractmethod
    def match(self, memory: Memory, encoded: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Return scores and features of encoded captions, as those of these images."""

    def leave_one_out(self, memory: Memory, encoded: Tensor, mask: Tensor) -> Tensor | None:
        """Return the score (B,K) of an image's captions without each one of them.

        None where every caption is scored by itself.
        """
        return None

    def replace_each(
        self, memory: Memory, encoded: Tensor, replacements: Tensor, completions: int
    ) -> Tensor:
        """Return scores (B,KC) of captions that replace those of an image, C for each of K.

        ``encoded`` (B,K,R) and ``replacements`` (B,KC,R) are encoded captions, none of them absent.
        """
        mask = torch.ones(*replacements.shape[:2], 1, dtype=torch.bool, device=encoded.device)
        return self.match(memory, replacements, mask).scores

    def forward(self, memory: Memory, embedded: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Return scores and features of embedded captions."""
        return self.match(memory, self.encode(embedded, mask), mask)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return embedded words (B,K,T,E) of ids (B,K,T), zero where there is no word."""
        return self.words(ids) * mask.unsqueeze(-1)

    def embed_soft(self, words: Tensor, mask: Tensor) -> Tensor:
        """Return the same of distributions over words (M,V) in the places of ``mask`` (B,K,T)."""
        embedded = words @ self.words.weight
        placed = embedded.new_zeros(*mask.shape, embedded.shape[-1])
        return placed.masked_scatter(mask.unsqueeze(-1), embedded)


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

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return g(caption) (B,K,H)."""
        return self.caption(last_state(self.reader, self.dropout(embedded), mask))

    def match(self, memory: Memory, encoded: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Return scores (B,K) and features (B,K,H)."""
        image = self.image(memory.pooled.float()).unsqueeze(1)
        features = image * encoded
        return DiscriminatorOutput(features.sum(-1) / image.shape[-1] ** 0.5, features)


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

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return each filter's largest answer (B,K,R)."""
        words = self.dropout(embedded).flatten(0, 1).transpose(1, 2)  # (BK,E,T)
        words = F.pad(words, (0, max(0, max(self.windows) - words.shape[-1])))
        pooled = [layer(words).relu().amax(-1) for layer in self.convolutions]
        return torch.cat(pooled, -1).view(*mask.shape[:2], -1)

    def match(self, memory: Memory, encoded: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Return scores (B,K) and features (B,K,H)."""
        image = self.image(memory.pooled.float()).relu().unsqueeze(1).expand(*mask.shape[:2], -1)
        features = F.leaky_relu(self.join(torch.cat([encoded, image], -1)), 0.2)
        return DiscriminatorOutput(self.score(features).squeeze(-1), features)


class SetDiscriminator(Discriminator):
    """Scores the captions of an image together: captions that are alike are generated ones.

    Shetty et al. 2017, section 3.2: each caption is compared with the others of its image by
    ``kernels`` learned distances (minibatch discrimination, Salimans et al. 2016), and with the
    image. Every caption of a set gets the set's score.
    """

    scores_sets = True

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
        self.join = self.linear(2 * hidden, hidden)
        self.near = self.linear(kernels, hidden)
        self.score = self.linear(hidden, 1)

    def encode(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return the reader's last states (B,K,H)."""
        return last_state(self.reader, self.dropout(embedded), mask)

    def match(self, memory: Memory, encoded: Tensor, mask: Tensor) -> DiscriminatorOutput:
        """Return scores (B,K), the same for all captions of an image, and features (B,K,H)."""
        present = mask.any(-1)  # (B,K)
        similarity = self._similarity(encoded, present).sum(2)
        count = present.sum(-1).view(-1, 1, 1)
        matched = self._match_each(memory, encoded)
        scores, features = self._score_sets(matched, similarity / (count - 1).clamp_min(1), present)
        return DiscriminatorOutput(scores.unsqueeze(1).expand_as(present), features)

    def leave_one_out(self, memory: Memory, encoded: Tensor, mask: Tensor) -> Tensor:
        """Return the score (B,K) of each image's set of captions without each one of them."""
        present = mask.any(-1)
        similarity = self._similarity(encoded, present)
        count = present.sum(-1).view(-1, 1, 1, 1)
        # [b, k, j]: caption j of image b, without caption k
        remaining = (similarity.sum(2).unsqueeze(1) - similarity) / (count - 2).clamp_min(1)
        diagonal = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        matched = self._match_each(memory, encoded).unsqueeze(1)
        return self._score_sets(matched, remaining, present.unsqueeze(1) & ~diagonal)[0]

    def _similarity(self, encoded: Tensor, present: Tensor) -> Tensor:
        """Return how alike the captions of an image are by each kernel (B,K,K,kernels)."""
        projected = self.compare(encoded).unflatten(-1, (self.kernels, -1))
        distances = (projected.unsqueeze(1) - projected.unsqueeze(2)).abs().sum(-1)
        # a caption is no neighbor of its own, and an absent one nobody's
        diagonal = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        excluded = diagonal | ~present.unsqueeze(1) | ~present.unsqueeze(2)
        return (-distances).exp().masked_fill(excluded.unsqueeze(-1), 0.0)

    def _match_each(self, memory: Memory, encoded: Tensor) -> Tensor:
        """Return what each caption and its image say by themselves (B,K,H)."""
        image = self.image(memory.pooled.float()).unsqueeze(1)
        return self.join(torch.cat([encoded, image * encoded], -1))

    def _score_sets(
        self, matched: Tensor, similarity: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mean score of the captions that are present, and their features."""
        features = F.leaky_relu(matched + self.near(similarity), 0.2)
        scores = self.score(features).squeeze(-1) * present
        return scores.sum(-1) / present.sum(-1).clamp_min(1), features

    def replace_each(
        self, memory: Memory, encoded: Tensor, replacements: Tensor, completions: int
    ) -> Tensor:
        """Return the scores of the sets (B,KC) in which one caption is replaced."""
        images, count = encoded.shape[:2]
        place = torch.eye(count, dtype=torch.bool, device=encoded.device)
        place = place.repeat_interleave(completions, 0).unsqueeze(-1)  # (KC,K,1)
        sets = torch.where(place, replacements.unsqueeze(2), encoded.unsqueeze(1)).flatten(0, 1)
        owner = torch.arange(images, device=encoded.device)
        owner = owner.repeat_interleave(count * completions)
        mask = torch.ones(*sets.shape[:2], 1, dtype=torch.bool, device=encoded.device)
        return self.match(memory.take(owner), sets, mask).scores[:, 0].view(images, -1)


def last_state(reader: nn.GRU, words: Tensor, mask: Tensor) -> Tensor:
    """Return the state (B,K,H) after the last real word of each caption, zero for none."""
    hidden, _ = reader(words.flatten(0, 1))
    lengths = mask.sum(-1).flatten()
    rows = torch.arange(len(hidden), device=hidden.device)
    last = hidden[rows, (lengths - 1).clamp_min(0)] * (lengths > 0).unsqueeze(-1)
    return last.view(*mask.shape[:2], -1)
