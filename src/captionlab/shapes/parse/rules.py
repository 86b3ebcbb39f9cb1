"""The notation of grammar rules; `compiler` makes parsers of them.

    rule(parameter, parameter)
        symbol symbol -> value          an alternative: its symbols in order, and what it means

Every alternative that fits is a parse, in the order of the table. A value is a Python expression of
the names of the symbols before it, of the rule's parameters and of `semantics`; without one it is
the value of the last symbol. Lines that begin with # are comments. Symbols are

    category            a token of this category, whose value takes the category's name
    one/other           a token of one of these categories
    category=value      a token with this value; - is the empty one
    [category]          passed over where it stands; "" is its value where it does not
    category?           both without it and with it
    category*           as many as stand there, as a list; + asks for one or more
    one&other           in any order, each at most once, as a dictionary
    category+[link]     perhaps with a token of this category between two; so do * and &
    !category           stands not here
    rule, rule(a, b)    what another rule reads, with these parameters
    {condition}         a Python condition on what has been read; {name := ...} names its value

and `name:symbol` gives the value another name. "end" is the category of the sentence's end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SYMBOL = re.compile(r"\{[^}]*\}|[^\s({]+\((?:[^()]|\([^()]*\))*\)|\S+")
_LINKED = re.compile(r"(.+)\[(\w+)\]")
_NULLABLE = ("optional", "either", "list", "set", "not", "condition")


@dataclass(frozen=True)
class Symbol:
    """One symbol: `kind` is token, optional, either, list, some, set, not, call or condition."""

    kind: str
    name: str = ""
    categories: tuple[str, ...] = ()
    value: str | None = None
    link: str = ""
    expression: str = ""


@dataclass(frozen=True)
class Alternative:
    """Symbols in order, and a Python expression of what they mean together."""

    symbols: tuple[Symbol, ...]
    value: str


@dataclass(frozen=True)
class Rule:
    """One constituent and the ways to write it."""

    name: str
    parameters: str
    alternatives: tuple[Alternative, ...]


def read_rules(table: str) -> list[Rule]:
    """Return the rules of a table."""
    heads: list[str] = []
    bodies: list[list[str]] = []
    for line in table.splitlines():
        if not line.strip() or line.strip()[0] == "#":
            continue
        if line[0] == " ":
            bodies[-1].append(line.strip())
        else:
            heads.append(line.strip())
            bodies.append([])
    names = {head.partition("(")[0] for head in heads}
    rules = []
    for head, body in zip(heads, bodies, strict=True):
        name, _, parameters = head.rstrip(")").partition("(")
        rules.append(Rule(name, parameters, tuple(_alternative(line, names) for line in body)))
    return rules


def _alternative(line: str, rules: Iterable[str]) -> Alternative:
    left, arrow, value = f" {line}".partition(" -> ")
    symbols = tuple(_symbol(text, rules) for text in _SYMBOL.findall(left))
    if not arrow:
        value = symbols[-1].name
    return Alternative(symbols, value.strip())


def _symbol(text: str, rules: Iterable[str]) -> Symbol:
    if text[0] == "{":
        return Symbol("condition", expression=text[1:-1].strip())
    if text[0] == "!":
        return Symbol("not", categories=tuple(text[1:].split("/")))
    name, colon, body = text.partition(":")
    body = body if colon else text
    called, _, arguments = body.partition("(")
    if called in rules:
        return Symbol("call", name if colon else called, (called,), expression=arguments[:-1])
    linked = _LINKED.fullmatch(body)
    body, link = linked.groups() if linked else (body, "")
    kind = _kind(body)
    tested, equals, value = body.strip("[]?*+").partition("=")
    categories = tuple(re.split("[/&]", tested))
    return Symbol(
        kind,
        name if colon else categories[0],
        categories,
        value.strip("-") if equals else None,
        link,
    )


def _kind(text: str) -> str:
    if "&" in text:
        return "set"
    if text[0] == "[":
        return "optional"
    return {"?": "either", "*": "list", "+": "some"}.get(text[-1], "token")


def tested_categories(rules: Iterable[Rule]) -> set[str]:
    """Return the categories of tokens that rules ask for."""
    symbols = (s for rule in rules for way in rule.alternatives for s in way.symbols)
    asked = {
        category
        for symbol in symbols
        if symbol.kind != "call"
        for category in (*symbol.categories, symbol.link)
    }
    return asked - {""}


def first_categories(rules: Iterable[Rule]) -> dict[str, frozenset[str] | None]:
    """Return the categories that a rule's parses begin with; None where it may read nothing."""
    starts: dict[str, tuple[frozenset[str], bool]] = {
        rule.name: (frozenset(), False) for rule in rules
    }
    while True:
        now = {rule.name: _starts(rule, starts) for rule in rules}
        if now == starts:
            return {name: None if empty else first for name, (first, empty) in starts.items()}
        starts = now


def _starts(
    rule: Rule, starts: Mapping[str, tuple[frozenset[str], bool]]
) -> tuple[frozenset[str], bool]:
    """Return the categories known so far, and whether the rule may read nothing."""
    first: set[str] = set()
    nullable = False
    for alternative in rule.alternatives:
        for symbol in alternative.symbols:
            if symbol.kind == "call":
                more, empty = starts[symbol.categories[0]]
            else:
                more = frozenset() if symbol.kind == "not" else frozenset(symbol.categories)
                empty = symbol.kind in _NULLABLE
            first |= more
            if not empty:
                break
        else:
            nullable = True
    return frozenset(first), nullable
