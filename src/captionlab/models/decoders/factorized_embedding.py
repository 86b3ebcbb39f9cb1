"""An embedding in two factors: narrow word vectors, and a linear layer to a decoder's width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError


class FactorizedEmbedding(nn.Module):
    """Embeds words at ``word_dim`` and projects them to ``embedding_dim`` (Lan et al. 2020, ALBERT, 3.1).

    Published word vectors are narrower than decoders, and V x word_dim weights fewer than
    V x embedding_dim. The projection has no bias: padding stays zero. Raises UserError for a
    ``word_dim`` below 1.
    """

    def __init__(
        self, vocabulary_size: int, *, word_dim: int, embedding_dim: int, pad_id: int | None
    ) -> None:
        super().__init__()
        if word_dim < 1:
            raise UserError(f"word_dim={word_dim} must be at least 1, or null")
        self.table = nn.Embedding(vocabulary_size, word_dim, padding_idx=pad_id)
        self.projection = nn.Linear(word_dim, embedding_dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (..., E) of ids (...)."""
        return self.projection(self.table(tokens))

    @torch.no_grad()
    def begin_like(self, words: nn.Embedding) -> None:
        """Draw the projection so that embedded words are as large as those of ``words`` (V, E)."""
        nn.init.normal_(self.projection.weight)
        # the sum of word_dim products with normal numbers is as large as the word vector is long
        length = _root_mean_square(self.table.weight) * self.table.embedding_dim**0.5
        self.projection.weight.mul_(_root_mean_square(words.weight) / length)


def _root_mean_square(table: Tensor) -> Tensor:
    """Return the root mean square (a scalar) of a table's rows that are not zero, as padding's is."""
    # no size depends on values: a checkpoint's model is outlined on the meta device
    rows = table.any(dim=1).sum()
    return (table.square().sum() / (rows * table.shape[1])).sqrt()
