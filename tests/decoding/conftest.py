"""A model for decoding tests: its next-token logits depend on the image and the whole history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

PRIME = 4093


@dataclass(frozen=True)
class FakeMemory:
    pooled: Tensor  # (B,1): a number that tells the images apart

    def take(self, images: Tensor) -> FakeMemory:
        return FakeMemory(self.pooled[images])


@dataclass(frozen=True)
class FakeState:
    history: Tensor  # (B,W) long: a hash of image and tokens so far
    weights: Tensor | None = None

    def select(self, indices: Tensor) -> FakeState:
        weights = self.weights
        if weights is not None:
            weights = weights.gather(1, indices[..., None].expand(-1, -1, weights.shape[-1]))
        return replace(self, history=self.history.gather(1, indices), weights=weights)

    def take(self, images: Tensor) -> FakeState:
        weights = None if self.weights is None else self.weights[images]
        return FakeState(self.history[images], weights)


class FakeModel:
    """Looks logits and attention up in random tables, by a hash of the history."""

    PAD, BOS, EOS = 0, 1, 2
    SPECIAL: ClassVar[dict[str, int]] = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}

    def __init__(self, words: int = 4, seed: int = 0, spread: float = 2.0, slots: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(PRIME, words + 3, generator=generator) * spread
        self.attention = torch.randn(PRIME, slots, generator=generator).softmax(-1)
        self.steps = 0

    def init_state(self, memory: FakeMemory, width: int) -> FakeState:
        self.steps = 0
        return FakeState(memory.pooled.long().expand(-1, width))

    def step(self, token_ids: Tensor, state: FakeState) -> tuple[Tensor, FakeState]:
        self.steps += 1
        history = (state.history * 31 + token_ids * 7 + 1) % PRIME
        return self.table[history], FakeState(history, self.attention[history])

    def memory(self, *images: int) -> FakeMemory:
        return FakeMemory(torch.tensor(images, dtype=torch.float32)[:, None])

    def replay(self, image: int, tokens: list[int]) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (T,V) before each token of a caption, and attention (T,N)."""
        state = self.init_state(self.memory(image), 1)
        rows, weights = [], []
        for token in [self.BOS, *tokens][: len(tokens)]:
            logits, state = self.step(torch.tensor([[token]]), state)
            rows.append(logits[0, 0].float().log_softmax(-1))
            weights.append(state.weights[0, 0])
        return torch.stack(rows), torch.stack(weights)


@pytest.fixture
def make_model() -> Callable[..., FakeModel]:
    return FakeModel
