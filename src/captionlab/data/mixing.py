"""A second source of training pairs, such as images that a generative model made, and its share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.utils.data import Sampler

from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.errors import UserError


class Extra:
    """Pairs that join the training split of a data set, never those that are scored.

    An epoch holds every image of the data set once, and so many of ``source``'s training split,
    drawn anew each epoch, that they are ``share`` of the epoch's images. Raises UserError for a
    share that is not between 0 and 1.
    """

    def __init__(self, *, source: CaptionSource, share: float = 0.2) -> None:
        if not 0 < share < 1:
            raise UserError(
                f"data.extra.share={share} must be between 0 and 1; data/extra=null is none"
            )
        self.source = source
        self.share = share

    def records(self, language: str) -> list[CaptionRecord]:
        """Return its training records, their ids told apart from those of the data set.

        Raises:
            UserError: if it has no training split, or another language.
        """
        if self.source.language != language:
            raise UserError(
                f"data.extra is in {self.source.language!r} and the data in {language!r}: one "
                "captioner writes one language"
            )
        if "train" not in self.source.splits:
            raise UserError(
                f"data.extra has no split 'train': it has {', '.join(self.source.splits)}"
            )
        return [
            replace(record, image_id=f"extra-{record.image_id}")
            for record in self.source.records("train")
        ]


class MixedSampler(Sampler[int]):
    """Items of a data set whose first ``real`` are its own and whose last ``extra`` are added.

    Every own item once an epoch, and as many added ones as make ``share`` of it, in random order,
    dealt to the ranks in turn. ``seed`` and epoch decide the order, the same on all ranks.
    """

    def __init__(
        self, real: int, extra: int, share: float, *, rank: int = 0, ranks: int = 1, seed: int = 0
    ) -> None:
        self.real, self.extra = real, extra
        self.added = max(1, round(real * share / (1 - share)))
        self.rank, self.ranks, self.seed = rank, ranks, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-(self.real + self.added) // self.ranks)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        rounds = -(-self.added // self.extra)
        # each added item once before any comes a second time
        drawn = torch.cat([torch.randperm(self.extra, generator=generator) for _ in range(rounds)])[
            : self.added
        ]
        chosen = torch.cat([torch.arange(self.real), self.real + drawn])
        order = chosen[torch.randperm(len(chosen), generator=generator)].tolist()
        # the first ones again where the ranks do not divide them evenly
        order += order[: len(self) * self.ranks - len(order)]
        return iter(order[self.rank :: self.ranks])
