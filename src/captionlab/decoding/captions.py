"""From a memory to words: a decoding method, a model and a tokenizer put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from captionlab.decoding.generated import Generated, MemoryT, StateT, StepModel


class TokenIds(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def pad_id(self) -> int:
        """What fills a caption after its end."""

    @property
    def bos_id(self) -> int:
        """What a caption begins with."""

    @property
    def eos_id(self) -> int:
        """What ends a caption."""

    @property
    def unk_id(self) -> int:
        """What stands for every unknown word."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without bos and eos."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token ids, up to the end token."""
        ...


class Decoding(Protocol):
    """Turns a memory into captions: greedy, beam, sampling."""

    def __call__(
        self,
        model: StepModel[MemoryT, StateT],
        memory: MemoryT,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: tuple[int, ...] = (),
        encode: Callable[[str], list[int]] | None = None,
    ) -> Generated:
        """Return the captions of each image, best first."""
        ...


def captions_each(decoding: Decoding) -> int:
    """Return how many captions of an image a decoding gives, at most."""
    kept: int | None = getattr(decoding, "num_captions", None)
    drawn: int = getattr(decoding, "num_samples", 1)
    return kept or drawn


def generate(
    model: StepModel[MemoryT, StateT],
    memory: MemoryT,
    decoding: Decoding,
    tokenizer: TokenIds,
) -> tuple[list[str], Generated]:
    """Return one caption an image (the best) and all that the decoding found.

    The unknown token is never generated: a caption that says ``<unk>`` helps nobody.
    """
    generated = decoding(
        model,
        memory,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        banned_ids=(tokenizer.unk_id,),
        encode=tokenizer.encode,
    )
    return [tokenizer.decode(ids) for ids in generated.tokens[:, 0].tolist()], generated


def all_captions(generated: Generated, tokenizer: TokenIds) -> list[list[tuple[str, float]]]:
    """Return every caption of each image with its score, best first."""
    return [
        [
            (tokenizer.decode(ids), score)
            for ids, length, score in zip(*image, strict=True)
            if length > 0
        ]
        for image in zip(
            generated.tokens.tolist(),
            generated.lengths.tolist(),
            generated.scores.tolist(),
            strict=True,
        )
    ]
