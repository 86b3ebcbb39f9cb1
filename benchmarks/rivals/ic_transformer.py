"""The Transformer of ImageCaptioning.pytorch, written anew from its public code.

captioning/models/TransformerModel.py and cachedTransformer.py (4c48a33): layers as in The Annotated
Transformer, cells repeated for the captions before the encoder, masks as tensors, scores and weights
of attention as tensors of their own. In decoding the cached one keeps keys and values of words and
cells in two tensors of all layers, which it splits and joins at each step and copies as beams move;
the uncached one runs all words again.

Legend as in ``ic_models``; S query places, M key places, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rivals.ic_models import ImageCaptioning, Prepared, State, embedding

HEADS = 8
Past = tuple[Tensor, Tensor]  # keys and values of what was read before (R,M,width)


class LayerNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.scale * (x - mean) / (deviation + 1e-6) + self.shift


class Attention(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: Tensor, read: Tensor, mask: Tensor | None, past: Past | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what was looked at (R,S,width), and keys and values (2,R,M,width) with a past."""
        present = None
        if past is not None and past[0].shape[1] == read.shape[1] > 1:  # cells, seen before
            query, (key, value) = self.query(query), past
            present = torch.stack([key, value])
        else:
            query, key, value = self.query(query), self.key(read), self.value(read)
            if past is not None:
                key, value = torch.cat((past[0], key), 1), torch.cat((past[1], value), 1)
                present = torch.stack([key, value])
        rows, width = len(query), query.shape[-1]
        query, key, value = (
            one.view(rows, -1, HEADS, width // HEADS).transpose(1, 2) for one in (query, key, value)
        )
        scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(width // HEADS)
        if mask is not None:
            scores = scores.masked_fill(mask.unsqueeze(1) == 0, float("-inf"))
        context = torch.matmul(self.dropout(F.softmax(scores, dim=-1)), value)
        return self.out(context.transpose(1, 2).contiguous().view(rows, -1, width)), present


class Layer(nn.Module):
    """Attention to itself, to the cells where it writes, and two linear layers; norms before each."""

    def __init__(self, width: int, inner: int, dropout: float, *, writes: bool) -> None:
        super().__init__()
        parts = 3 if writes else 2
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(parts))
        self.attentions = nn.ModuleList(Attention(width, dropout) for _ in range(parts - 1))
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.inner_dropout = nn.Dropout(dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, reads: Sequence[Tensor | None], masks: Sequence[Tensor | None],
        pasts: Sequence[Past | None],
    ) -> tuple[Tensor, list[Tensor | None]]:  # fmt: skip
        """Return (R,S,width) and presents; ``reads`` None stands for the layer's own input."""
        presents = []
        for norm, attention, read, mask, past in zip(
            self.norms, self.attentions, reads, masks, pasts, strict=False
        ):
            normed = norm(x)
            seen, present = attention(normed, normed if read is None else read, mask, past)
            x = x + self.dropout(seen)
            presents.append(present)
        inner = self.inner_dropout(F.relu(self.inner(self.norms[-1](x))))
        return x + self.dropout(self.outer(inner)), presents


class Transformer(ImageCaptioning):
    def __init__(
        self,
        *,
        vocabulary: int,
        memory_dim: int,
        steps: int,
        width: int = 512,
        inner: int = 2048,
        layers: int = 6,
        dropout: float = 0.1,
        cell_dropout: float = 0.5,
        cached: bool = True,
    ) -> None:
        super().__init__(vocabulary, steps)
        self.width = width
        self.cached = cached
        self.cells = embedding(memory_dim, width, cell_dropout)
        self.encoder = nn.ModuleList(
            Layer(width, inner, dropout, writes=False) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(
            Layer(width, inner, dropout, writes=True) for _ in range(layers)
        )
        self.encoder_norm, self.decoder_norm = LayerNorm(width), LayerNorm(width)
        self.words = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, vocabulary)
        self.register_buffer("places", sinusoids(5000, width))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def encode(self, cells: Tensor) -> Tensor:
        """Return refined cells."""
        mask = cells.new_ones(cells.shape[:2], dtype=torch.long).unsqueeze(-2)
        for layer in self.encoder:
            cells, _ = layer(cells, (None,), (mask,), (None,))
        return self.encoder_norm(cells)

    def decode(
        self, words: Tensor, memory: Tensor, mask: Tensor, past: State | None
    ) -> tuple[Tensor, State]:
        """Return (R,T,width) of words (R,T), the last place alone with a past; and what comes past."""
        x = self.words(words) * math.sqrt(self.width)
        x = self.dropout(x + self.places[:, : x.shape[1]])
        cells_mask = memory.new_ones(memory.shape[:2], dtype=torch.long).unsqueeze(-2)
        pasts: list[Sequence[Past | None]] = [(None, None)] * len(self.decoder)
        if past is not None:
            x, mask = x[:, -1:], mask[:, -1:]
            halves = zip(past[0].split(2, dim=0), past[1].split(2, dim=0), strict=True)
            pasts = [((own[0], own[1]), (seen[0], seen[1])) for own, seen in halves]
        presents: list[list[Tensor]] = [[], []]
        for layer, before in zip(self.decoder, pasts, strict=True):
            x, present = layer(x, (None, memory), (mask, cells_mask), before)
            for parts, part in zip(presents, present, strict=True):
                parts.append(part)
        after = [] if past is None else [torch.cat(parts, 0) for parts in presents]
        return self.decoder_norm(x), after

    def prepare(self, slots: Tensor) -> Prepared:
        return [self.encode(self.cells(slots))]

    def init_state(self, rows: int) -> State:
        return []

    def output(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        (memory,) = prepared
        words = word.unsqueeze(1)
        if state:
            words = torch.cat([state[0][0], words], 1)
        mask = subsequent(words.shape[1], word.device)
        past = None
        if self.cached:
            none = memory.new_zeros(2 * len(self.decoder), len(words), 0, self.width)
            past = state[1:] or [none, none.clone()]
        x, after = self.decode(words, memory, mask, past)
        return self.scores(x[:, -1]), [words.unsqueeze(0), *after]

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        flat = tokens.flatten(0, 1)
        cells = self.cells(slots).unsqueeze(1).expand(-1, tokens.shape[1], -1, -1).flatten(0, 1)
        seen = (flat != self.eos) & (flat != self.pad)
        seen[:, 0] = True
        mask = seen.unsqueeze(-2) & subsequent(flat.shape[1], flat.device)
        x, _ = self.decode(flat, self.encode(cells), mask, None)
        return F.log_softmax(self.scores(x), dim=-1)


def subsequent(size: int, device: torch.device) -> Tensor:
    """Return (1,T,T): no word sees those behind it."""
    return torch.ones(1, size, size, dtype=torch.bool).tril().to(device)


def sinusoids(places: int, width: int) -> Tensor:
    """Return (1,places,width) of Vaswani et al. 2017, section 3.5."""
    rates = torch.exp(torch.arange(0, width, 2).float() * -(math.log(10000.0) / width))
    angles = torch.arange(places).unsqueeze(1).float() * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).unsqueeze(0)
