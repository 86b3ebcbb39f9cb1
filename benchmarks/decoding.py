"""Beam search over a whole batch against beam search one image at a time, in one run.

    python benchmarks/decoding.py [--device cuda] [--images 64] [--beam-size 5] [--repeats 3]

The other side is written as the field writes it (peers.md measured such code): a loop over images,
in it a loop over steps, in it a loop over beams that takes numbers out of tensors. Both sides call
the same GRU with attention over 49 cells, and must find the same captions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captionlab.decoding import Beam, Generated

PAD, BOS, EOS = 0, 1, 2
VOCABULARY = 9487
LENGTH = 16


@dataclass(frozen=True)
class CellMemory:
    cells: Tensor  # (B,N,H)
    pooled: Tensor  # (B,H)


@dataclass(frozen=True)
class GruState:
    cells: Tensor
    hidden: Tensor  # (B,W,H)
    steps: int = 0
    weights: Tensor | None = None

    def select(self, indices: Tensor) -> GruState:
        chosen = self.hidden.gather(1, indices[..., None].expand(-1, -1, self.hidden.shape[-1]))
        return GruState(self.cells, chosen, self.steps)

    def take(self, images: Tensor) -> GruState:
        return GruState(self.cells[images], self.hidden[images], self.steps)


class GruModel(nn.Module):
    """One GRU layer with dot-product attention; its eos grows likely after eight words."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.cell = nn.GRUCell(2 * width, width)
        self.out = nn.Linear(2 * width, VOCABULARY)
        nn.init.normal_(self.out.weight, std=0.2)

    def init_state(self, memory: CellMemory, width: int) -> GruState:
        hidden = memory.pooled[:, None].repeat(1, width, 1)
        return GruState(memory.cells, hidden)

    def step(self, token_ids: Tensor, state: GruState) -> tuple[Tensor, GruState]:
        weights = (state.hidden @ state.cells.mT / state.hidden.shape[-1] ** 0.5).softmax(-1)
        context = weights @ state.cells
        entered = torch.cat([self.embed(token_ids), context], dim=-1).flatten(0, 1)
        hidden = self.cell(entered, state.hidden.flatten(0, 1)).view_as(state.hidden)
        logits = self.out(torch.cat([hidden, context], dim=-1))
        logits[..., EOS] += max(0, state.steps - 7) * 3.0
        return logits, GruState(state.cells, hidden, state.steps + 1, weights)


@torch.no_grad()
def one_image_at_a_time(model: GruModel, memory: CellMemory, size: int) -> list[list[int]]:
    """Return the best caption of each image, found in loops over images, steps and beams."""
    images = zip(memory.cells.split(1), memory.pooled.split(1), strict=True)
    return [search(model, CellMemory(cells, pooled), size) for cells, pooled in images]


def search(model: GruModel, memory: CellMemory, size: int) -> list[int]:
    device = memory.pooled.device
    state = model.init_state(memory, 1)
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for step in range(LENGTH):
        last = torch.tensor([[words[-1] if words else BOS for _, words in beams]], device=device)
        logits, state = model.step(last, state)
        log_probs = logits.log_softmax(-1)
        log_probs[..., [PAD, BOS] if step else [PAD, BOS, EOS]] = -torch.inf
        children = []
        for parent, (score, words) in enumerate(beams):
            values, ids = log_probs[0, parent].topk(size)
            for value, word in zip(values, ids, strict=True):
                children.append((score + value.item(), parent, [*words, word.item()]))
        children = sorted(children, key=lambda child: -child[0])[:size]
        ended = [child for child in children if child[2][-1] == EOS or step + 1 == LENGTH]
        alive = [child for child in children if child not in ended]
        finished += [(score, words) for score, _, words in ended]
        if not alive or (finished and alive[0][0] <= max(finished)[0]):
            break
        beams = [(score, words) for score, _, words in alive]
        state = state.select(torch.tensor([[parent for _, parent, _ in alive]], device=device))
    return max(finished)[1]


def fastest(repeats: int, run: Callable[[], object], device: torch.device) -> float:
    """Return the least wall time of a run, in seconds; one run before it is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def captions(result: Generated) -> list[list[int]]:
    """Return the best caption of each image without padding."""
    rows, lengths = result.tokens[:, 0].tolist(), result.lengths[:, 0].tolist()
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)
    model = GruModel().to(device).eval()
    cells = torch.randn(options.images, 49, 512, device=device)
    memory = CellMemory(cells, cells.mean(1))
    beam = Beam(options.beam_size, max_length=LENGTH)

    def batched() -> Generated:
        return beam(model, memory, bos_id=BOS, eos_id=EOS, pad_id=PAD)

    def looped() -> list[list[int]]:
        return one_image_at_a_time(model, memory, options.beam_size)

    ours, theirs = captions(batched()), looped()
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    words = sum(map(len, ours)) / len(ours)
    fast, slow = (fastest(options.repeats, run, device) for run in (batched, looped))
    print(f"{options.images} images, beam {options.beam_size}, vocabulary {VOCABULARY}, {device}")
    print(f"same captions     {same} of {options.images}, {words:.1f} tokens on average")
    print(f"whole batch       {fast:8.3f} s {options.images / fast:8.1f} images/s")
    print(f"one image a time  {slow:8.3f} s {options.images / slow:8.1f} images/s")
    print(f"ratio             {slow / fast:8.1f}")


if __name__ == "__main__":
    main()
