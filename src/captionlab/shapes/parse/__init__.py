"""Reading: sentences become claims, by one parser and a table for each language."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from captionlab.shapes.parse.parser import Parser

_MACHINERY = ("compiler", "lexicon", "parser", "rules", "semantics")
# a language is the module that holds its table
LANGUAGES: tuple[str, ...] = tuple(
    sorted(module.name for module in iter_modules(__path__) if module.name not in _MACHINERY)
)


@cache
def parser(language: str) -> Parser:
    """Return the parser of one of the `LANGUAGES`."""
    chosen: Parser = import_module(f"{__name__}.{language}").PARSER
    return chosen
