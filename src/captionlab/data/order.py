"""In what order items come, and what is random about each: decided by seed and epoch alone.

So an epoch is the same on any number of processes, with any number of loading processes, and in a
run that was stopped in its midst and goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler

from captionlab.data.dataset import CaptionBatch

_MASK = 2**63 - 1


class Draw(NamedTuple):
    """An item of a data set, and the number from which all that is random about it is drawn."""

    item: int
    seed: int


class TrainingSampler(Sampler[Draw]):
    """Deals an epoch's items, in random order, to the ranks in turn.

    The first ``own`` items are the data set's, each once an epoch; of ``extra`` items behind them so
    many are drawn anew each epoch that they are ``share`` of it. The n-th batch of all ranks together
    holds the items that one process alone would have in its n-th batch.
    """

    def __init__(
        self,
        own: int,
        *,
        extra: int = 0,
        share: float = 0.0,
        rank: int = 0,
        ranks: int = 1,
        seed: int = 0,
    ) -> None:
        self.own, self.extra = own, extra
        self.added = max(1, round(own * share / (1 - share))) if extra else 0
        self.rank, self.ranks, self.seed = rank, ranks, seed
        self.epoch = 0
        self.start = 0  # items of this rank to leave out, once: an interrupted epoch goes on

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-(self.own + self.added) // self.ranks)

    def __iter__(self) -> Iterator[Draw]:
        epoch, self.epoch = self.epoch, self.epoch + 1  # for those who do not call set_epoch
        generator = torch.Generator().manual_seed(_mixed(self.seed, epoch))
        chosen = torch.cat([torch.arange(self.own), self.own + self._drawn(generator)])
        order = chosen[torch.randperm(len(chosen), generator=generator)].tolist()
        # the first ones again where the ranks do not divide them evenly
        order += order[: len(self) * self.ranks - len(order)]
        start, self.start = self.start, 0
        for item in order[self.rank :: self.ranks][start:]:
            yield Draw(item, _mixed(self.seed, epoch, item))

    def _drawn(self, generator: torch.Generator) -> torch.Tensor:
        """Return which extra items join the epoch; each once before any comes a second time."""
        if not self.added:
            return torch.empty(0, dtype=torch.int64)
        rounds = -(-self.added // self.extra)
        orders = [torch.randperm(self.extra, generator=generator) for _ in range(rounds)]
        return torch.cat(orders)[: self.added]


class EvaluationSampler(Sampler[int]):
    """Deals a split to the ranks in turn, the first items again where it does not divide evenly.

    Every rank gets the same number of batches, because DDP's collective calls hang otherwise; the
    repeated items are dropped by image id before anything is scored, so that a score does not
    depend on the number of GPUs (pytorch-lightning issues 5060 and 7929).
    """

    def __init__(self, size: int, rank: int, ranks: int):
        self.size, self.rank, self.ranks = size, rank, ranks

    def __len__(self) -> int:
        return -(-self.size // self.ranks)

    def __iter__(self) -> Iterator[int]:
        return (i % self.size for i in range(self.rank, len(self) * self.ranks, self.ranks))


class TrainingLoader(DataLoader[CaptionBatch]):
    """A loader that a checkpoint can hold: a resumed epoch goes on with the batch that comes next.

    The data module puts ``state_dict`` into checkpoints. The sampler is a ``TrainingSampler``.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._given = 0
        self._skip = 0

    def __iter__(self) -> Iterator[CaptionBatch]:  # type: ignore[override]
        # a generator: Lightning also makes iterators that it never asks for a batch
        self._given, self._skip = self._skip, 0
        self.sampler.start = self._given * (self.batch_size or 1)  # type: ignore[attr-defined]
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of this epoch were given out."""
        return {"given": self._given % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leave so many batches out of the next epoch."""
        self._skip = state.get("given", 0)


def _mixed(*numbers: int) -> int:
    """Return one seed made of several numbers: near ones give far ones (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 2**64 - 1
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 2**64 - 1
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 2**64 - 1
        state ^= state >> 31
    return state & _MASK
