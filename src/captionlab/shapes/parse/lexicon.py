"""The words that a parser knows: phrases with a category and a value.

A line of a table reads `category value: phrase | phrase`; a value of - is empty. Alternatives in
parentheses stand for all their combinations: `(at/on) the left (/side)`. # begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Token = tuple[str, str]

END = "end"
_GROUP = re.compile(r"\(([^()]*)\)")


class Lexicon:
    """Phrases of words, or of characters where a language is not `spaced`; the longest one wins."""

    def __init__(self, table: str, *, spaced: bool = True) -> None:
        self._phrases: dict[tuple[str, ...], Token] = {}
        for line in table.strip().splitlines():
            if line[0] == "#":
                continue
            head, _, tail = line.partition(":")
            category, _, value = head.partition(" ")
            for phrase in (form for text in tail.split("|") for form in expand(text)):
                units = tuple(phrase.lower().split() if spaced else phrase.strip())
                self._phrases[units] = (category, "" if value == "-" else value)
        self.categories = {END, *(category for category, _ in self._phrases.values())}
        widths: dict[str, set[int]] = {}
        for units in self._phrases:
            widths.setdefault(units[0], set()).add(len(units))
        # by the first unit, for most phrases are short and most units begin no long one
        self._widths = {unit: sorted(known, reverse=True) for unit, known in widths.items()}

    def tokens(self, units: Sequence[str]) -> tuple[list[str], list[str]] | None:
        """Return the phrases' categories, `END` last, and their values; None for unknown units."""
        categories: list[str] = []
        values: list[str] = []
        place, phrases = 0, self._phrases
        while place < len(units):
            for width in self._widths.get(units[place], ()):
                token = phrases.get(tuple(units[place : place + width]))
                if token is not None:
                    categories.append(token[0])
                    values.append(token[1])
                    place += width
                    break
            else:
                return None
        return [*categories, END], [*values, ""]


def expand(text: str) -> list[str]:
    """Return the phrases that a text with alternatives in parentheses stands for."""
    group = _GROUP.search(text)
    if group is None:
        return [text]
    before, after = text[: group.start()], text[group.end() :]
    return [form for option in group[1].split("/") for form in expand(f"{before}{option}{after}")]
