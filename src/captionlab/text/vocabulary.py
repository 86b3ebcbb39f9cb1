"""Tokens and their ids, and what a vocabulary misses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens

FEWEST_WORDS = 5  # below this a captioner has nothing to choose from: the data or a key is wrong


@dataclass(frozen=True, slots=True)
class VocabularyReport:
    """How a vocabulary fits some captions.

    size: entries, the special ones counted. types: different tokens seen in the captions.
    coverage: share of these that have an entry. unknown: share of all running tokens that have none.
    """

    size: int
    types: int
    coverage: float
    unknown: float

    def __str__(self) -> str:
        return (
            f"{self.size:,} entries; they cover {self.coverage:.1%} of the {self.types:,} different "
            f"tokens, and {self.unknown:.2%} of all running tokens are unknown"
        )

    def as_dict(self) -> dict[str, int | float]:
        """Return the numbers by name, for loggers."""
        return asdict(self)


class Vocabulary:
    """A fixed list of tokens behind the special ``<pad>`` 0, ``<bos>`` 1, ``<eos>`` 2, ``<unk>`` 3.

    Raises:
        UserError: if a word is there twice, is not a text or is a special token.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.tokens: tuple[str, ...] = (*SpecialTokens.TEXTS, *words)
        texts = all(isinstance(token, str) for token in self.tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)} if texts else {}
        if len(self._ids) < len(self.tokens):
            raise UserError("This vocabulary is damaged: its words are not different texts.")

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        threshold: int = 5,
        max_size: int | None = None,
        captions: int,
    ) -> Vocabulary:
        """Return the vocabulary of the words seen at least ``threshold`` times, the frequent first.

        Words of one count stand in alphabetical order. ``max_size`` limits all entries, the four
        special ones counted. ``captions`` is how many captions were counted, for the message.

        Raises:
            UserError: if fewer than 5 words are left, or the threshold is below 1.
        """
        if threshold < 1:
            raise UserError(f"data.tokenizer.threshold={threshold} must be at least 1.")
        ranked = sorted(
            ((word, n) for word, n in counts.items() if word not in SpecialTokens.TEXTS),
            key=lambda item: (-item[1], item[0]),
        )
        words = [word for word, n in ranked if n >= threshold]
        if max_size is not None:
            if max_size < SpecialTokens.COUNT + FEWEST_WORDS:
                raise UserError(
                    f"data.tokenizer.max_size={max_size} is too small: it counts the "
                    f"{SpecialTokens.COUNT} special tokens and needs room for {FEWEST_WORDS} words "
                    "(null is no limit)."
                )
            words = words[: max_size - SpecialTokens.COUNT]
        if len(words) < FEWEST_WORDS:
            raise UserError(_too_few(words, ranked, threshold, captions))
        return cls(words)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    def id(self, token: str) -> int:
        """Return the token's id; the id of ``<unk>`` for a word that is not there or a special."""
        token_id = self._ids.get(token, SpecialTokens.UNK)
        return token_id if token_id >= SpecialTokens.COUNT else SpecialTokens.UNK

    def token(self, token_id: int) -> str:
        """Return the token of an id (IndexError past the last)."""
        return self.tokens[token_id]

    def report(self, counts: Mapping[str, int]) -> VocabularyReport:
        """Return how this vocabulary fits tokens seen so many times each."""
        known = {word: n for word, n in counts.items() if self.id(word) != SpecialTokens.UNK}
        running = sum(counts.values())
        return VocabularyReport(
            size=len(self),
            types=len(counts),
            coverage=len(known) / len(counts) if counts else 0.0,
            unknown=1 - sum(known.values()) / running if running else 0.0,
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types, for a checkpoint."""
        return {"words": list(self.tokens[SpecialTokens.COUNT :])}

    @classmethod
    def from_dict(cls, entry: Mapping[str, object]) -> Vocabulary:
        """Return the vocabulary that ``to_dict`` wrote (UserError if it is damaged)."""
        words = entry.get("words")
        if not isinstance(words, list | tuple):
            raise UserError("This vocabulary is damaged: it has no list of words.")
        return cls(words)


def count_tokens(tokenized: Iterable[Iterable[str]]) -> tuple[Counter[str], int]:
    """Return how often each token occurs, and the number of captions."""
    counts: Counter[str] = Counter()
    captions = 0
    for tokens in tokenized:
        counts.update(tokens)
        captions += 1
    return counts, captions


def _too_few(words: list[str], ranked: list[tuple[str, int]], threshold: int, captions: int) -> str:
    if not ranked:
        return (
            f"There is no vocabulary: {captions:,} training captions hold no words. "
            "Check data.root and the caption file."
        )
    frequent = ", ".join(f"{word!r} {n:,}" for word, n in ranked[:5])
    what = "word is" if len(words) == 1 else "words are"
    remedy = "Give" if threshold == 1 else "Lower data.tokenizer.threshold, or give"
    return (
        f"A vocabulary of {len(words)} words is too small ({FEWEST_WORDS} is the least): of "
        f"{captions:,} training captions' {len(ranked):,} different words only {len(words)} {what} "
        f"seen data.tokenizer.threshold={threshold} times or more. The most frequent are {frequent}. "
        f"{remedy} more training captions."
    )
