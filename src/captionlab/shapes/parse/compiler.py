"""Grammar rules become a parser: one Python generator for each rule.

Rules become source, as the writer's table does: to interpret them symbol by symbol takes several
times as long. A rule is entered only where a token stands that one of its parses begins with.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from captionlab.shapes.parse import semantics
from captionlab.shapes.parse.rules import (
    Alternative,
    Rule,
    Symbol,
    first_categories,
    read_rules,
    tested_categories,
)

# of the categories and values of all tokens, and a place: (value, place after it) for each parse
Parse = Callable[[list[str], list[str], int], Iterator[tuple[Any, int]]]


def compile_rules(table: str, categories: Collection[str], extra: Mapping[str, Any]) -> Parse:
    """Return the parser of the rule "sentence" for tokens of these categories.

    Values and conditions know the names of `semantics` and the extra ones.
    """
    rules = read_rules(table)
    if unknown := sorted(tested_categories(rules) - set(categories)):
        raise AssertionError(f"no rule and no token has a name that rules ask for: {unknown}")
    first = first_categories(rules)
    names: dict[str, Any] = {**vars(semantics), **extra}
    names |= {f"first_{name}": categories for name, categories in first.items()}
    source = "\n".join(_RuleWriter(rule, first).source() for rule in rules)
    # the tables of this package, nothing from outside
    exec(source, names)  # noqa: S102
    parse: Parse = names["parse_sentence"]
    return parse


class _RuleWriter:
    """Writes the generator of one rule; each symbol stands within what those before it open.

    In its source c and v are the categories and values of the tokens, i and p1, p2, ... places.
    """

    def __init__(self, rule: Rule, first: Mapping[str, frozenset[str] | None]) -> None:
        self._rule, self._first = rule, first
        self._lines: list[str] = []
        self._depth = self._places = 0
        self._place = "i"
        self._read: set[str] = set()

    def source(self) -> str:
        """Return the function's source."""
        parameters = f", {self._rule.parameters}" if self._rule.parameters else ""
        self._lines = [f"def parse_{self._rule.name}(c, v, i{parameters}):"]
        for alternative in self._rule.alternatives:
            self._write(alternative)
        return "\n".join(self._lines)

    def _write(self, alternative: Alternative) -> None:
        self._depth, self._place = 1, "i"
        texts = [alternative.value, *(symbol.expression for symbol in alternative.symbols)]
        # "between phrases -> between(phrases)" calls a function and reads no token's value
        self._read = {name for text in texts for name in _names(text)}
        for symbol in alternative.symbols:
            getattr(self, f"_{symbol.kind}")(symbol)
        self._emit(f"yield {alternative.value}, {self._place}")

    def _emit(self, *lines: str) -> None:
        self._lines += [" " * self._depth + line for line in lines]

    def _open(self, line: str) -> None:
        self._emit(line)
        self._depth += 1

    def _next(self) -> str:
        """Return the place after a token."""
        base, _, offset = self._place.partition(" + ")
        return f"{base} + {int(offset or 0) + 1}"

    def _new_place(self) -> str:
        self._places += 1
        return f"p{self._places}"

    def _test(self, symbol: Symbol) -> str:
        test = f"c[{self._place}] {_among(symbol.categories)}"
        return test if symbol.value is None else f"{test} and v[{self._place}] == {symbol.value!r}"

    def _token(self, symbol: Symbol) -> None:
        self._open(f"if {self._test(symbol)}:")
        if symbol.name in self._read:
            self._emit(f"{symbol.name} = v[{self._place}]")
        self._place = self._next()

    def _not(self, symbol: Symbol) -> None:
        self._open(f"if not ({self._test(symbol)}):")

    def _condition(self, symbol: Symbol) -> None:
        self._open(f"if {symbol.expression}:")

    def _optional(self, symbol: Symbol) -> None:
        place, test = self._new_place(), self._test(symbol)
        if symbol.name in self._read:
            self._emit(
                f"if {test}: {symbol.name}, {place} = v[{self._place}], {self._next()}",
                f"else: {symbol.name}, {place} = '', {self._place}",
            )
        else:
            self._emit(f"{place} = {self._place} + ({test})")
        self._place = place

    def _either(self, symbol: Symbol) -> None:
        place = self._new_place()
        without, with_it = f"('', {self._place})", f"(v[{self._place}], {self._next()})"
        ways = f"({without}, {with_it}) if {self._test(symbol)} else ({without},)"
        self._open(f"for {symbol.name}, {place} in {ways}:")
        self._place = place

    def _list(self, symbol: Symbol) -> None:
        self._repeat(symbol, "[]", "", f"{symbol.name}.append(v[ahead])")

    def _some(self, symbol: Symbol) -> None:
        self._list(symbol)
        self._open(f"if {symbol.name}:")

    def _set(self, symbol: Symbol) -> None:
        new = f" and c[ahead] not in {symbol.name}"
        self._repeat(symbol, "{}", new, f"{symbol.name}[c[ahead]] = v[ahead]")

    def _repeat(self, symbol: Symbol, empty: str, new: str, add: str) -> None:
        place = self._new_place()
        link = f" + (c[{place}] == {symbol.link!r})" if symbol.link else ""
        self._emit(
            f"{symbol.name} = {empty}",
            f"{place} = ahead = {self._place}",
            f"while c[ahead] {_among(symbol.categories)}{new}:",
            f" {add}",
            f" {place} = ahead + 1",
            f" ahead = {place}{link}",
        )
        self._place = place

    def _call(self, symbol: Symbol) -> None:
        called, place = symbol.categories[0], self._new_place()
        if self._first[called] is not None:
            self._open(f"if c[{self._place}] in first_{called}:")
        arguments = f", {symbol.expression}" if symbol.expression else ""
        self._open(f"for {symbol.name}, {place} in parse_{called}(c, v, {self._place}{arguments}):")
        self._place = place


def _among(categories: tuple[str, ...]) -> str:
    return f"== {categories[0]!r}" if len(categories) == 1 else f"in {categories!r}"


def _names(expression: str) -> set[str]:
    """Return the names that a Python expression reads other than to call them."""
    nodes = [*ast.walk(ast.parse(f"({expression},)" if expression else "()"))]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}
