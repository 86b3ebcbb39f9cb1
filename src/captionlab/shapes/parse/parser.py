"""One parser for all languages: a lexicon makes tokens of a sentence, rules make claims of them.

Punctuation is ignored; a word that is unknown or out of place leaves no parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from captionlab.shapes.parse.compiler import compile_rules
from captionlab.shapes.parse.lexicon import Lexicon
from captionlab.shapes.parse.semantics import Claims

# Repetitive garbage ("a star on the left a star on the left ...") has thousands of parses; a scene
# has at most four objects
_MOST_NOUNS = 6
_NOUNS = frozenset({"shape", "shapes"})


class Parser:
    """The sentences of one language, read.

    Args:
        lexicon: the table of words, as `Lexicon` reads it.
        rules: the table of rules, as `read_rules` reads it; "sentence" is the whole.
        longest: the most words of a sentence, or characters where the language is not `spaced`.
        punctuation: a regular expression of what is ignored.
        names: functions and tables of this language that its rules use beside those of `semantics`.
    """

    def __init__(
        self,
        lexicon: str,
        rules: str,
        *,
        longest: int,
        punctuation: str,
        spaced: bool = True,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        self._lexicon = Lexicon(lexicon, spaced=spaced)
        self._parse = compile_rules(rules, self._lexicon.categories, names or {})
        self._longest, self._spaced = longest, spaced
        self._ignored = re.compile(punctuation if spaced else rf"{punctuation}|\s")

    def parses(self, text: str) -> Iterator[Claims]:
        """Yield the claims of every parse of a sentence; none where it is not a whole sentence."""
        text = self._ignored.sub(" " if self._spaced else "", text.lower())
        units = text.split() if self._spaced else text
        tokens = self._lexicon.tokens(units) if 0 < len(units) <= self._longest else None
        if tokens and sum(map(_NOUNS.__contains__, tokens[0])) <= _MOST_NOUNS:
            for claims, _ in self._parse(*tokens, 0):
                yield claims
