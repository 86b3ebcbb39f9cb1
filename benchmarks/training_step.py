"""Captions a second in training: the attention LSTM against the usual way, in one run.

    python benchmarks/training_step.py [--images 10] [--cells 196] [--threads 2] [--device cpu]

The usual way is written from the public description of the much-read tutorial on Show, Attend and
Tell: features repeated for each caption, their projection repeated at each step, nn.LSTMCell,
scores of all steps in one (captions, steps, vocabulary) buffer. Both sides: one layer of 512, a
gated context, cross-entropy on real tokens, forward and backward, features given.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captionlab.core.memory import Memory
from captionlab.models.attention.additive import GatedAdditiveAttention
from captionlab.models.decoders.recurrent.rnn import rnn_decoder

PAD, BOS = 0, 1


class UsualWay(nn.Module):
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

    def forward(self, slots: Tensor, tokens: Tensor) -> Tensor:
        words = self.words(tokens)
        pooled = slots.mean(1)
        hidden, cell = self.first_hidden(pooled), self.first_cell(pooled)
        scores = slots.new_zeros(*tokens.shape, self.output.out_features)
        for step in range(tokens.shape[1]):
            fit = self.slot_score(slots) + self.state_score(hidden).unsqueeze(1)
            weights = self.score(fit.relu()).squeeze(2).softmax(1)
            context = (slots * weights.unsqueeze(2)).sum(1) * self.gate(hidden).sigmoid()
            seen = torch.cat([words[:, step], context], dim=1)
            hidden, cell = self.cell(seen, (hidden, cell))
            scores[:, step] = self.output(self.dropout(hidden))
        return scores


def usual_step(model: UsualWay, memory: Memory, tokens: Tensor) -> Callable[[], None]:
    captions = tokens.shape[1]

    def run() -> None:
        slots = memory.slots.repeat_interleave(captions, dim=0)
        flat = tokens.flatten(0, 1)
        scores = model(slots, flat[:, :-1])
        loss = F.cross_entropy(scores.flatten(0, 1), flat[:, 1:].flatten(), ignore_index=PAD)
        model.zero_grad()
        loss.backward()

    return run


def our_step(model: rnn_decoder, memory: Memory, tokens: Tensor) -> Callable[[], None]:
    def run() -> None:
        targets = tokens[..., 1:]
        hidden, *_ = model(memory, tokens[..., :-1].masked_fill(targets == PAD, PAD))
        real = targets != PAD
        loss = F.cross_entropy(model.logits(hidden[real]), targets[real])
        model.zero_grad()
        loss.backward()

    return run


def seconds(run: Callable[[], None], device: str, repeats: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    return statistics.median(once() for _ in range(repeats))


def draw(args: argparse.Namespace) -> tuple[Memory, Tensor]:
    slots = torch.randn(args.images, args.cells, args.width)
    memory = Memory(slots, slots.mean(1), torch.ones(slots.shape[:2], dtype=torch.bool))
    tokens = torch.randint(2, args.vocabulary, (args.images, args.captions, 18))
    words = torch.randint(8, 17, (args.images, args.captions, 1))
    # bos, 8 to 16 words, eos
    tokens[torch.arange(18).expand_as(tokens) > words + 1] = PAD
    tokens[..., 0] = BOS
    memory = Memory(*(getattr(memory, name).to(args.device) for name in Memory.__slots__))
    return memory, tokens.to(args.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--captions", type=int, default=5)
    parser.add_argument("--cells", type=int, default=196)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--vocabulary", type=int, default=9487)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    memory, tokens = draw(args)
    attention = GatedAdditiveAttention(512, query_dim=512, memory_dim=args.width)
    ours = rnn_decoder(
        vocabulary_size=args.vocabulary,
        pad_id=PAD,
        memory_dim=args.width,
        attention=attention,
    ).to(args.device)
    usual = UsualWay(args.width, args.vocabulary).to(args.device)
    captions = args.images * args.captions
    print(f"{args.images} images x {args.captions} captions, {args.cells} x {args.width} memory")
    mine = captions / seconds(our_step(ours, memory, tokens), args.device, args.repeats)
    print(f"captionlab     {mine:8.1f} captions/s")
    theirs = captions / seconds(usual_step(usual, memory, tokens), args.device, args.repeats)
    print(f"the usual way  {theirs:8.1f} captions/s")
    print(f"ratio          {mine / theirs:8.1f}")


if __name__ == "__main__":
    main()
