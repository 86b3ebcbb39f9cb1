"""From a memory to words: a decoding method, a model and a tokenizer put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from torch import Tensor

from captionlab.decoding.generated import Generated, MemoryT, StateT, StepModel
from captionlab.decoding.prompted import decode_prompted


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

    @property
    def control_ids(self) -> tuple[int, ...]:
        """What stands in prompts alone."""

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
    prompts: Sequence[Sequence[int]] | None = None,
    noise: Tensor | None = None,
) -> tuple[list[str], Generated]:
    """Return one caption an image (the best) and all that the decoding found.

    The unknown token is never generated: a caption that says ``<unk>`` helps nobody. ``prompts`` are
    token ids that are given before each caption, which begins after them; ``noise`` as ``Sampling``
    takes it.
    """
    generated = decode_prompted(
        decoding,
        model,
        memory,
        [()] * len(memory.pooled) if prompts is None else prompts,
        noise=noise,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        banned_ids=(tokenizer.unk_id, *tokenizer.control_ids),
        encode=tokenizer.encode,
    )
    return [tokenizer.decode(ids) for ids in generated.tokens[:, 0].tolist()], generated


def all_captions(
    generated: Generated, tokenizer: TokenIds, beginning: Sequence[int] = ()
) -> list[list[tuple[str, float]]]:
    """Return every caption of each image with its score, best first.

    ``beginning``: ids of words that were given, with which each begins.
    """
    return [
        [
            (tokenizer.decode([*beginning, *ids]), score)
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
