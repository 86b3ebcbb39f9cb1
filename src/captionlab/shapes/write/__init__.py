"""Writing: messages about a scene become sentences, by one grammar and a table for each language."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from captionlab.shapes.write.grammar import Grammar

# a language is the module that holds its table
LANGUAGES: tuple[str, ...] = tuple(
    sorted(module.name for module in iter_modules(__path__) if module.name != "grammar")
)


@cache
def grammar(language: str) -> Grammar:
    """Return the grammar of one of the `LANGUAGES`."""
    chosen: Grammar = import_module(f"{__name__}.{language}").GRAMMAR
    return chosen
