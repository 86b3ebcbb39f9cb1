"""A linear connector.

Legend: B images, N memory slots, D width of the encoder's slots, P of its pooled vector, W width of
both behind the connector.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.dropout import Dropout


class LinearConnector(nn.Module):
    """Projects slots and pooled vector to ``width``: linear, ReLU, dropout, once an image.

    The ``att_embed`` and ``fc_embed`` of Rennie et al. 2017 (the authors' code), before every
    published score of Att2in and Up-Down there. At build time come ``memory_dim`` and
    ``pooled_dim`` (None: the same), the widths of the encoder's memory. Raises UserError for a
    ``width`` below 1 or a ``dropout`` that is no probability.
    """

    def __init__(
        self,
        *,
        width: int = 512,
        dropout: float = 0.5,
        memory_dim: int,
        pooled_dim: int | None = None,
    ) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"model.connector.width={width} must be at least 1.")
        if not 0 <= dropout < 1:
            raise UserError(f"model.connector.dropout={dropout} must lie in [0, 1).")
        self.dim = width
        self.memory_dim = memory_dim
        self.slots = projection(memory_dim, width, dropout)
        self.pooled = projection(memory_dim if pooled_dim is None else pooled_dim, width, dropout)

    def forward(self, memory: Memory) -> Memory:
        """Return slots (B, N, W) and pooled (B, W) of slots (B, N, D) and pooled (B, P).

        Raises:
            UserError: for a memory of another width.
        """
        memory.require_width(self.memory_dim, "connector")
        return replace(memory, slots=self.slots(memory.slots), pooled=self.pooled(memory.pooled))


def projection(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """Return linear, ReLU, dropout: (..., width) of (..., inputs)."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), Dropout(dropout))
