"""Att2in2 and Up-Down as ImageCaptioning.pytorch computes them, written anew from its public code.

https://github.com/ruotianluo/ImageCaptioning.pytorch (captioning/models/AttModel.py, 4c48a33). What
makes its time is kept: everything of an image is repeated for its captions before the loop, each
step reads the word's layers by themselves, and all steps' log-probabilities of all words stand in
one buffer, those of padding too.

Legend: B images, R captions or beams of all of them, T tokens, N cells, D their width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = list[Tensor]  # each (layers, R, width): beams are chosen along the second dimension
Prepared = list[Tensor]  # of an image, then of a caption: first dimension B, then R
Ending = Callable[[Tensor, int], Tensor]  # last words (R,) and step -> what is added to eos (R,)


def embedding(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout))


class Attention(nn.Module):
    """Additive attention over cells whose projection is given."""

    def __init__(self, width: int, attention: int) -> None:
        super().__init__()
        self.attention = attention
        self.query = nn.Linear(width, attention)
        self.score = nn.Linear(attention, 1)

    def forward(self, hidden: Tensor, cells: Tensor, keys: Tensor) -> Tensor:
        fit = torch.tanh(keys + self.query(hidden).unsqueeze(1).expand_as(keys))
        scores = self.score(fit.view(-1, self.attention)).view(-1, keys.shape[1])
        return torch.bmm(F.softmax(scores, dim=1).unsqueeze(1), cells).squeeze(1)


class Att2in2Core(nn.Module):
    layers = 1

    def __init__(self, width: int, attention: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.context = nn.Linear(width, 2 * width)
        self.word = nn.Linear(width, 5 * width)
        self.recurrent = nn.Linear(width, 5 * width)
        self.dropout = nn.Dropout(dropout)
        self.attention = Attention(width, attention)

    def forward(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        _, cells, keys = prepared
        hidden, cell = state[0][-1], state[1][-1]
        context = self.attention(hidden, cells, keys)
        sums = self.word(word) + self.recurrent(hidden)
        gates = torch.sigmoid(sums.narrow(1, 0, 3 * self.width))
        enter, forget, leave = (gates.narrow(1, i * self.width, self.width) for i in range(3))
        both = sums.narrow(1, 3 * self.width, 2 * self.width) + self.context(context)
        new = torch.max(both.narrow(1, 0, self.width), both.narrow(1, self.width, self.width))
        cell = forget * cell + enter * new
        hidden = leave * torch.tanh(cell)
        return self.dropout(hidden), [hidden.unsqueeze(0), cell.unsqueeze(0)]


class UpDownCore(nn.Module):
    layers = 2

    def __init__(self, width: int, attention: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.top_down = nn.LSTMCell(3 * width, width)
        self.language = nn.LSTMCell(2 * width, width)
        self.attention = Attention(width, attention)

    def forward(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        pooled, cells, keys = prepared
        hidden, cell = state
        seen = torch.cat([hidden[-1], pooled, word], 1)
        looking = self.top_down(seen, (hidden[0], cell[0]))
        context = self.attention(looking[0], cells, keys)
        speaking = self.language(torch.cat([context, looking[0]], 1), (hidden[1], cell[1]))
        output = F.dropout(speaking[0], self.dropout, self.training)
        return output, [torch.stack(pair) for pair in zip(looking, speaking, strict=True)]


class ImageCaptioning(nn.Module, ABC):
    """What its models have in common: the loop of training, and one step of decoding."""

    bos, eos, pad = 0, 0, 0  # its own; others can be set

    def __init__(self, vocabulary: int, steps: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.steps = steps
        self.ending: Ending | None = None
        self.written = 0  # tokens since the state began

    @abstractmethod
    def prepare(self, slots: Tensor) -> Prepared:
        """Return what is computed once an image."""

    @abstractmethod
    def init_state(self, rows: int) -> State:
        """Return the state before the first token."""

    @abstractmethod
    def output(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        """Return logits (R,V) of the word after ``word`` (R,), and the next state."""

    @abstractmethod
    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """Return log-probabilities (R,T,V) of inputs (B,K,T)."""

    def log_probs(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        """Return log-probabilities (R,V) of the word after ``word`` (R,), and the next state."""
        logits, state = self.output(word, prepared, state)
        if self.ending is not None:
            logits[..., self.eos] += self.ending(word, self.written).to(logits.dtype)
        self.written += 1
        return F.log_softmax(logits, dim=1), state


class RecurrentCaptioning(ImageCaptioning):
    """A core between embedded words and their scores."""

    def __init__(
        self,
        core: Callable[[int, int, float], nn.Module],
        *,
        vocabulary: int,
        memory_dim: int,
        width: int,
        attention: int,
        pooled: bool,
        steps: int,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(vocabulary, steps)
        self.width = width
        self.words = nn.Sequential(nn.Embedding(vocabulary, width), nn.ReLU(), nn.Dropout(dropout))
        self.pooled = embedding(memory_dim, width, dropout) if pooled else None
        self.cells = embedding(memory_dim, width, dropout)
        self.keys = nn.Linear(width, attention)
        self.core = core(width, attention, dropout)
        self.scores = nn.Linear(width, vocabulary)

    def prepare(self, slots: Tensor) -> Prepared:
        pooled = slots.mean(1)
        cells = self.cells(slots)
        return [pooled if self.pooled is None else self.pooled(pooled), cells, self.keys(cells)]

    def init_state(self, rows: int) -> State:
        shape = (int(self.core.layers), rows, self.width)
        return [self.scores.weight.new_zeros(shape) for _ in range(2)]

    def output(self, word: Tensor, prepared: Prepared, state: State) -> tuple[Tensor, State]:
        output, state = self.core(self.words(word), prepared, state)
        return self.scores(output), state

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        captions = tokens.shape[1]
        flat = tokens.flatten(0, 1)
        prepared = repeated(self.prepare(slots), captions)
        state = self.init_state(len(flat))
        outputs = slots.new_zeros(*flat.shape, self.vocabulary)
        for step in range(flat.shape[1]):
            word = flat[:, step].clone()
            if step and not word.any():
                break
            outputs[:, step], state = self.log_probs(word, prepared, state)
        return outputs


def repeated(prepared: Prepared, times: int) -> Prepared:
    """Return each tensor with every row ``times`` times."""
    if times == 1:
        return prepared
    wider = (one.unsqueeze(1).expand(-1, times, *one.shape[1:]) for one in prepared)
    return [one.reshape(-1, *one.shape[2:]) for one in wider]


def likelihood_loss(model: ImageCaptioning, slots: Tensor, tokens: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of captions (B,K,T) of bos, words, eos, padding."""
    mask = (tokens != model.pad)[..., 1:].flatten(0, 1)
    target = tokens[..., 1:].flatten(0, 1)
    log_probs = model(slots, tokens[..., :-1])
    mask = mask.to(log_probs)
    chosen = log_probs.gather(2, target.unsqueeze(2)).squeeze(2)
    return torch.sum(-chosen * mask) / torch.sum(mask)
