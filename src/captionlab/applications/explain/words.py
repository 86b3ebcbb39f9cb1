"""The words of a caption among its tokens, and which of them say something of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from captionlab.core.errors import UserError, did_you_mean
from captionlab.decoding.captions import TokenIds
from captionlab.inference.words import word_tokens

# words that a picture hardly decides, in the languages of the built-in data
_FUNCTION_WORDS = """
a an the of in on at to with and or by from for into near next over under up down as than that this
these those there here it its is are was were be been being has have had do does his her their one who
which while some all both same each other another not no
ein eine einen einem einer der die das den dem des und oder mit auf in im an am vor von zu ist sind neben
über unter bei als
的 是 在 和 有 了 着 一 个 这 那
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class Word(NamedTuple):
    """A word: its text, and the tokens ``first`` to ``end`` (exclusive) that it consists of."""

    text: str
    first: int
    end: int

    @property
    def says_something(self) -> bool:
        """Whether it is no function word and no sign of punctuation."""
        return any(map(str.isalnum, self.text)) and self.text.lower() not in FUNCTION_WORDS


def words_of(tokens: Sequence[int], tokenizer: TokenIds) -> list[Word]:
    """Return the words of a caption's tokens, as ``inference.words`` tells them apart."""
    return [
        Word(text, places[0], places[-1] + 1) for text, places in word_tokens(tokenizer, tokens)
    ]


def chosen_words(words: Sequence[Word], choice: str | None) -> list[Word]:
    """Return the words that are to be explained: those that say something, or the one chosen.

    ``choice``: a word of the caption, every time that it stands there, or its number, from 1.

    Raises:
        UserError: if the caption has no such word, or none that says anything.
    """
    caption = " ".join(word.text for word in words)
    if choice is None:
        content = [word for word in words if word.says_something]
        if not content:
            raise UserError(f"the caption {caption!r} has no word to explain: choose one by --word")
        return content
    same = [word for word in words if word.text.lower() == choice.lower()]
    if same:
        return same
    if choice.isdecimal():
        if not 1 <= int(choice[:9]) <= len(words):
            raise UserError(
                f"--word {choice}: the caption {caption!r} has {len(words)} words, the first is 1"
            )
        return [words[int(choice) - 1]]
    hint = did_you_mean(choice, {word.text for word in words})
    raise UserError(f"--word {choice}: the caption {caption!r} has no such word; {hint}")
