"""The much-read tutorial on Show, Attend and Tell, written anew from its public code.

https://github.com/sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning (models.py, train.py, caption.py):
cells repeated for each caption, their projection made anew at each step, captions sorted by length
so that those that are over leave the batch, scores of all steps in one buffer; beam search image by
image. One layer of 512, a gated context, the doubly stochastic penalty.

Legend: B images, K captions an image, R = B K, T tokens, N cells, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence


class ShowAttendTell(nn.Module):
    def __init__(self, width: int, vocabulary: int, hidden: int = 512) -> None:
        super().__init__()
        self.slot_score = nn.Linear(width, hidden)
        self.state_score = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.words = nn.Embedding(vocabulary, hidden)
        self.cell = nn.LSTMCell(hidden + width, hidden)
        self.first_hidden = nn.Linear(width, hidden)
        self.first_cell = nn.Linear(width, hidden)
        self.gate = nn.Linear(hidden, width)
        self.output = nn.Linear(hidden, vocabulary)
        self.dropout = nn.Dropout(0.5)

    def begin(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state before the first word."""
        pooled = slots.mean(1)
        return self.first_hidden(pooled), self.first_cell(pooled)

    def step(
        self, words: Tensor, slots: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return the state after embedded words (R,E), and where it looked (R,N)."""
        fit = self.slot_score(slots) + self.state_score(state[0]).unsqueeze(1)
        weights = self.score(fit.relu()).squeeze(2).softmax(1)
        context = (slots * weights.unsqueeze(2)).sum(1) * self.gate(state[0]).sigmoid()
        return self.cell(torch.cat([words, context], dim=1), state), weights

    def forward(
        self, slots: Tensor, tokens: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, list[int], Tensor]:
        """Return scores (R,T,V), tokens in their order, their numbers of steps, weights (R,T,N)."""
        lengths, order = lengths.sort(dim=0, descending=True)
        slots, tokens = slots[order], tokens[order]
        words = self.words(tokens)
        hidden, cell = self.begin(slots)
        steps = (lengths - 1).tolist()
        scores = slots.new_zeros(len(tokens), max(steps), self.output.out_features)
        weights = slots.new_zeros(len(tokens), max(steps), slots.shape[1])
        for step in range(max(steps)):
            rows = sum(length > step for length in steps)
            (hidden, cell), looked = self.step(
                words[:rows, step], slots[:rows], (hidden[:rows], cell[:rows])
            )
            scores[:rows, step] = self.output(self.dropout(hidden))
            weights[:rows, step] = looked
        return scores, tokens, steps, weights


def likelihood_loss(
    model: ShowAttendTell, slots: Tensor, tokens: Tensor, lengths: Tensor
) -> Tensor:
    """Return cross-entropy and penalty of captions (B,K,T) of features (B,N,D)."""
    repeated = slots.repeat_interleave(tokens.shape[1], dim=0)
    scores, flat, steps, weights = model(repeated, tokens.flatten(0, 1), lengths.flatten())
    packed = pack_padded_sequence(scores, steps, batch_first=True).data
    targets = pack_padded_sequence(flat[:, 1:], steps, batch_first=True).data
    penalty = ((1.0 - weights.sum(dim=1)) ** 2).mean()
    return F.cross_entropy(packed, targets) + penalty


@torch.no_grad()
def beam_search(
    model: ShowAttendTell, slots: Tensor, size: int, *, steps: int, bos: int
) -> list[Tensor]:
    """Return the best of ``size`` captions of each image, all ``steps`` long: none has an end.

    One beam is greedy decoding: the tutorial has no other.
    """
    return [_search(model, one.unsqueeze(0), size, steps, bos) for one in slots]


def _search(model: ShowAttendTell, slots: Tensor, size: int, steps: int, bos: int) -> Tensor:
    slots = slots.expand(size, -1, -1)
    last = torch.full((size, 1), bos, device=slots.device)
    captions, sums = last, slots.new_zeros(size, 1)
    looked = slots.new_ones(size, 1, slots.shape[1])
    hidden, cell = model.begin(slots)
    for step in range(steps):
        (hidden, cell), weights = model.step(model.words(last).squeeze(1), slots, (hidden, cell))
        scores = sums + F.log_softmax(model.output(hidden), dim=1)
        best, places = (scores[0] if step == 0 else scores.view(-1)).topk(size)
        parents, words = places // scores.shape[1], places % scores.shape[1]
        captions = torch.cat([captions[parents], words.unsqueeze(1)], dim=1)
        looked = torch.cat([looked[parents], weights[parents].unsqueeze(1)], dim=1)
        # it asks each word whether it is the end
        alive = [place for place, word in enumerate(words) if word != -1]
        captions, looked = captions[alive], looked[alive]
        chosen = parents[alive]
        hidden, cell, slots = hidden[chosen], cell[chosen], slots[chosen]
        sums, last = best[alive].unsqueeze(1), words[alive].unsqueeze(1)
    return captions[sums.argmax(), 1:]
