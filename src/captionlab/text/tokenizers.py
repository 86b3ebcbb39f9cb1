"""Captions to ids and back: words, Chinese characters, or subwords, behind one Protocol."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Protocol, Self

from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.special_tokens import SpecialTokens
from captionlab.text.prompts import Prompt, PromptEncoder
from captionlab.text.ptb import ptb_tokens
from captionlab.text.scoring import CJK, character_tokens, scoring_tokenizer
from captionlab.text.subwords import PretrainedTokenizer, SubwordTokenizer
from captionlab.text.token_ids import FORMAT, up_to_eos
from captionlab.text.vocabulary import (
    Vocabulary,
    VocabularyReport,
    count_tokens,
)

__all__ = [
    "CharacterTokenizer",
    "PretrainedTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "WordTokenizer",
    "for_language",
    "scoring_tokenizer",
    "tokenizer_from_dict",
]


log = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """Captions to ids and back; ids 0 to 3 are pad, bos, eos and unk in every tokenizer."""

    kind: ClassVar[str]
    pad_id: ClassVar[int]
    bos_id: ClassVar[int]
    eos_id: ClassVar[int]
    unk_id: ClassVar[int]

    def __len__(self) -> int: ...

    controls: tuple[str, ...]

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The ids of control tokens, which prompts hold and captions do not."""
        ...

    @property
    def languages(self) -> list[str]:
        """The languages that a prompt can ask for."""
        ...

    @property
    def similar_id(self) -> int | None:
        """The id that stands before captions of similar images, None where none are given."""
        ...

    @property
    def answers(self) -> bool:
        """Whether a prompt can ask a question."""
        ...

    @property
    def styles(self) -> list[str]:
        """The styles that a prompt can ask for."""
        ...

    def unasked(self, prompts: Iterable[Prompt]) -> list[str]:
        """Return what captions were learned behind, and no prompt asks for."""
        ...

    def with_controls(self, controls: Sequence[str]) -> Self:
        """Return this tokenizer with these control tokens behind its words."""
        ...

    def encode_prompt(self, prompt: Prompt, longest: int | None = None) -> list[int]:
        """Return the ids of what is given before a caption; a question is cut at ``longest``."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a caption, without bos and eos."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids up to the first eos; pad, bos, unk and controls are skipped."""
        ...

    def report(self, captions: Iterable[str]) -> VocabularyReport:
        """Return how the vocabulary fits these captions."""
        ...

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types, for a checkpoint; ``tokenizer_from_dict`` reads them."""
        ...


class WordTokenizer(PromptEncoder):
    """The words that coco-caption scores (``ptb_tokens``), so training and scoring agree."""

    kind: ClassVar[str] = "word"
    pad_id: ClassVar[int] = SpecialTokens.PAD
    bos_id: ClassVar[int] = SpecialTokens.BOS
    eos_id: ClassVar[int] = SpecialTokens.EOS
    unk_id: ClassVar[int] = SpecialTokens.UNK

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def fit(
        cls, captions: Iterable[str], *, threshold: int = 5, max_size: int | None = None
    ) -> Self:
        """Return the tokenizer of all tokens that these captions hold ``threshold`` times or more.

        Raises:
            UserError: if fewer than 5 tokens are left.
        """
        counts, number = count_tokens(map(cls._split, captions))
        return cls(
            Vocabulary.from_counts(counts, threshold=threshold, max_size=max_size, captions=number)
        )

    @staticmethod
    def _split(text: str) -> list[str]:
        return ptb_tokens(text)

    @staticmethod
    def _join(tokens: list[str]) -> str:
        return " ".join(tokens)

    def __len__(self) -> int:
        return len(self.vocabulary) + len(self.controls)

    @property
    def num_words(self) -> int:
        """How many ids there are without those of control tokens."""
        return len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a caption, without bos and eos."""
        return [self.vocabulary.id(token) for token in self._split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids up to the first eos; pad, bos, unk and controls are skipped."""
        words = self.num_words
        return self._join([self.vocabulary.token(i) for i in up_to_eos(ids) if i < words])

    def report(self, captions: Iterable[str]) -> VocabularyReport:
        """Return how the vocabulary fits these captions."""
        return self.vocabulary.report(count_tokens(map(self._split, captions))[0])

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON types, for a checkpoint."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            **self.vocabulary.to_dict(),
            **self.stored_controls(),
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, object]) -> Self:
        """Return the tokenizer that ``to_dict`` wrote."""
        return cls(Vocabulary.from_dict(entry)).with_stored_controls(entry)


class CharacterTokenizer(WordTokenizer):
    """Chinese characters one by one, other letters and digits by the run (``character_tokens``)."""

    kind: ClassVar[str] = "character"
    _is_cjk = re.compile(f"[{CJK}]").match

    @staticmethod
    def _split(text: str) -> list[str]:
        return character_tokens(text)

    @staticmethod
    def _join(tokens: list[str]) -> str:
        """Return the tokens with a space only where two runs would grow together."""
        text = ""
        run_before = False
        for token in tokens:
            run = CharacterTokenizer._is_cjk(token) is None
            text += f" {token}" if run and run_before else token
            run_before = run
        return text


_KINDS: dict[str, type[WordTokenizer] | type[SubwordTokenizer]] = {
    cls.kind: cls
    for cls in (WordTokenizer, CharacterTokenizer, SubwordTokenizer, PretrainedTokenizer)
}


def for_language(
    fit: Callable[[Iterable[str]], Tokenizer], language: str
) -> Callable[[Iterable[str]], Tokenizer]:
    """Return what fits a tokenizer to captions of a language: for Chinese no words, but characters."""
    if "zh" in language.split("+") and isinstance(fit, partial) and fit.func == WordTokenizer.fit:
        # the rules for English words find no words in a script without spaces
        log.info(
            "tokenizer  character: Chinese captions have no spaces that data/tokenizer=word needs"
        )
        return partial(CharacterTokenizer.fit, **fit.keywords)
    return fit


def tokenizer_from_dict(entry: Mapping[str, object]) -> Tokenizer:
    """Return the tokenizer that ``to_dict`` wrote.

    Raises:
        UserError: on an unknown kind or format, or damaged content.
    """
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UserError(
            f"A tokenizer of kind {kind!r} cannot be read: {did_you_mean(str(kind), _KINDS)}."
        )
    if entry.get("format") != FORMAT:
        raise UserError(
            f"A {kind} tokenizer of format {entry.get('format')!r} cannot be read: "
            f"this version of captionlab reads format {FORMAT}."
        )
    return _KINDS[kind].from_dict(entry)
