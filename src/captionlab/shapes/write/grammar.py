"""Sentences from a table: a grammar of weighted words and guarded patterns, read once, then run.

A table has two kinds of entries, and lines that begin with # are comments:

    key, other key: alternative 8 | alternative 2     one of them, by weight (1 where none stands)

    rule
        name = template                               made first, in this order
        ? guard: template                             the first line whose guard holds
        template                                      where none before it does

A template is text with references in braces. `{name}` is what a rule's own line has made, else what
a rule makes, else a word; `{rel $value}` is a word whose key ends in a variable, `{0}` and `{1}` are
the message's nouns, made by the rule "phrase" or by the one named, as in `{0.bare}`; `{nouns}` is
all of them in a series and `{others}` all but the first. `{word.form}` is a word in a form that the
language defines. Quotes keep spaces at an end.

A guard is atoms joined by "and", or by "or": a probability (a rule draws one number, at its first
probability that is asked for), `variable=value/value`, or a condition; "not" turns one around.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import accumulate
from random import Random

from captionlab.shapes.plan import Ground, Message

Template = Callable[["Sentence"], str]
Test = Callable[["Sentence"], bool]

_NO_GROUND = Ground()
_REFERENCE = re.compile(r"\{([^}]*)\}")
_WEIGHTED = re.compile(r"(.*) (\d+(?:\.\d+)?)")


class Sentence:
    """A sentence in the making: its message, the noun at hand, and what rules have made so far."""

    __slots__ = ("draw", "first", "made", "message", "noun", "random")

    def __init__(self, message: Message, rng: Random) -> None:
        self.message = message
        self.random = rng.random
        self.made: dict[str, str] = {}
        self.draw = -1.0  # the rule's number, negative where it has drawn none yet
        if message.nouns:
            self.noun = message.nouns[0]
            self.first = self.noun.objects[0]

    @property
    def background(self) -> Ground:
        """What the message states about the background."""
        return self.message.ground or _NO_GROUND


VARIABLES: dict[str, Template] = {
    "kind": lambda s: s.message.kind,
    "value": lambda s: s.message.value,
    "attribute": lambda s: str(getattr(s.first, s.message.value)),
    "shape": lambda s: s.first.shape,
    "color": lambda s: s.first.color,
    "size": lambda s: s.first.size,
    "texture": lambda s: s.first.texture,
    "place": lambda s: s.noun.place,
    "count": lambda s: str(len(s.noun.objects)),
    "tone": lambda s: s.background.tone,
    "ground": lambda s: s.background.color,
    "pattern": lambda s: s.background.pattern,
}
CONDITIONS: dict[str, Test] = {
    "definite": lambda s: s.noun.definite,
    "many": lambda s: len(s.noun.objects) > 1,
    "shape": lambda s: "shape" in s.noun.attributes,
    "color": lambda s: "color" in s.noun.attributes,
    "size": lambda s: "size" in s.noun.attributes,
    "texture": lambda s: "texture" in s.noun.attributes,
    "ground": lambda s: s.message.ground is not None,
    "tone": lambda s: s.background.tone != "",
    "tint": lambda s: s.background.color != "",
}


class Grammar:
    """The sentences of one language.

    Args:
        table: the words and rules; "sentence" is where every sentence begins.
        forms: what `{word.form}` makes of a word.
        conditions: guards of this language's own.
        longest: the most tokens of a caption: words where `spaced`, else characters.
    """

    def __init__(
        self,
        table: str,
        *,
        longest: int,
        spaced: bool = True,
        forms: Mapping[str, Callable[[str], str]] | None = None,
        conditions: Mapping[str, Test] | None = None,
    ) -> None:
        self.longest, self.spaced = longest, spaced
        self._forms = dict(forms or {})
        self._conditions = {**CONDITIONS, **(conditions or {})}
        words, rules = _entries(table)
        self._made = {name for lines in rules.values() for name, _ in map(_binding, lines) if name}
        self._keys = {*words, *rules}
        taken = {*self._keys, *VARIABLES, *self._conditions}
        if doubled := (words.keys() & rules.keys()) | (taken & self._made):
            raise AssertionError(f"two entries have one name: {sorted(doubled)}")
        self._entries: dict[str, Template] = {
            **{key: self._choice(alternatives) for key, alternatives in words.items()},
            **{name: self._rule(lines) for name, lines in rules.items()},
        }

    def write(self, message: Message, rng: Random) -> str:
        """Return one sentence that says what the message says."""
        return self._entries["sentence"](Sentence(message, rng))

    def length(self, text: str) -> int:
        """Return the number of a sentence's words, or of its characters with the punctuation."""
        return text.count(" ") + 1 if self.spaced else len(text)

    def _choice(self, alternatives: list[tuple[str, float]]) -> Template:
        """Return a choice by weight; the draws are those of Random.choices."""
        options = [self._template(text) for text, _ in alternatives]
        bounds = list(accumulate(weight for _, weight in alternatives))
        if len(options) == 1:
            return options[0]
        total, last = bounds[-1], len(options) - 1
        return lambda s: options[bisect(bounds, s.random() * total, 0, last)](s)

    def _rule(self, lines: list[str]) -> Template:
        bindings = [(n, self._template(text)) for n, text in map(_binding, lines) if n]
        branches: list[tuple[Test, Template]] = []
        for line in (line for line in lines if not _binding(line)[0]):
            guard, _, text = line[1:].partition(":") if line[0] == "?" else ("", "", line)
            test = self._guard(guard.strip()) if guard else _always
            branches.append((test, self._template(text.strip())))

        def branch(s: Sentence) -> str:
            s.draw = -1.0
            for test, template in branches:
                if test(s):
                    return template(s)
            raise AssertionError(f"no line of {lines} holds")

        def bound(s: Sentence) -> str:
            for name, template in bindings:
                s.made[name] = template(s)
            return branch(s)

        if len(branches) == 1:
            branch = branches[0][1]
        return bound if bindings else branch

    def _guard(self, text: str) -> Test:
        if " or " in text:
            tests = [self._atom(atom) for atom in text.split(" or ")]
            return lambda s: any(test(s) for test in tests)
        tests = [self._atom(atom) for atom in text.split(" and ")]
        if len(tests) == 1:
            return tests[0]
        return lambda s: all(test(s) for test in tests)

    def _atom(self, text: str) -> Test:
        if text.startswith("not "):
            test = self._atom(text[4:])
            return lambda s: not test(s)
        if text[0] in ".0123456789":
            return _below(float(text))
        name, equals, values = text.partition("=")
        if equals:
            variable, allowed = self._variable(name), frozenset(values.split("/"))
            return lambda s: variable(s) in allowed
        if text in self._made:
            return lambda s: s.made.get(text, "") != ""
        return self._conditions[text]

    def _variable(self, name: str) -> Template:
        return (lambda s: s.made[name]) if name in self._made else VARIABLES[name]

    def _template(self, text: str) -> Template:
        if text[:1] == text[-1:] == '"':
            text = text[1:-1]
        pieces = _REFERENCE.split(text)
        parts = [
            self._reference(piece) if odd % 2 else _constant(piece)
            for odd, piece in enumerate(pieces)
            if piece
        ]
        if len(parts) == 1:
            return parts[0]
        return lambda s: "".join([part(s) for part in parts])

    def _reference(self, text: str) -> Template:
        name, _, form = text.partition(".")
        if name.isdecimal():
            return self._noun(int(name), form or "phrase")
        if form:
            inflect, word = self._forms[form], self._reference(name)
            return lambda s: inflect(word(s))
        if name in self._made:
            return lambda s: s.made[name]
        if name in ("nouns", "others"):
            return self._series(name)
        return self._entry(name)

    def _entry(self, text: str) -> Template:
        """Return a word or rule by its key; a part of the key that begins with $ is a variable."""
        parts = text.split(" ")
        if not any(part[0] == "$" for part in parts):
            if text not in self._keys:
                raise AssertionError(f"there is no word, rule or name {text!r}")
            return lambda s: self._entries[text](s)
        variables = [
            self._variable(part[1:]) if part[0] == "$" else _constant(part) for part in parts
        ]
        if len(variables) == 1:
            only = variables[0]
            return lambda s: self._entries[only(s)](s)
        if len(variables) == 2 and parts[0][0] != "$":
            prefix, last = f"{parts[0]} ", variables[1]
            return lambda s: self._entries[prefix + last(s)](s)
        return lambda s: self._entries[" ".join([variable(s) for variable in variables])](s)

    def _noun(self, number: int, rule: str) -> Template:
        def noun(s: Sentence) -> str:
            before = s.noun, s.first
            s.noun = s.message.nouns[number]
            s.first = s.noun.objects[0]
            text = self._entries[rule](s)
            s.noun, s.first = before
            return text

        return noun

    def _series(self, name: str) -> Template:
        """Return "a, b and c", with the table's words "comma" and "and"."""
        start, joint = (0, "and") if name == "nouns" else (1, "and others")
        phrases = [self._noun(number, "phrase") for number in range(4)]

        def series(s: Sentence) -> str:
            texts = [phrase(s) for phrase in phrases[start : len(s.message.nouns)]]
            if len(texts) == 1:
                return texts[0]
            comma = self._entries["comma"](s) if len(texts) > 2 else ""
            return comma.join(texts[:-1]) + self._entries[joint](s) + texts[-1]

        return series


def _always(s: Sentence) -> bool:
    return True


def _constant(text: str) -> Template:
    return lambda s: text


def _below(threshold: float) -> Test:
    def test(s: Sentence) -> bool:
        if s.draw < 0:
            s.draw = s.random()
        return s.draw < threshold

    return test


def _binding(line: str) -> tuple[str, str]:
    """Return the name and the template of "name = template", two empty texts for another line."""
    name, equals, text = line.partition(" = ")
    return (name, text) if equals and line[0] != "?" else ("", "")


def _entries(table: str) -> tuple[dict[str, list[tuple[str, float]]], dict[str, list[str]]]:
    """Return the words and the rules of a table."""
    words: dict[str, list[tuple[str, float]]] = {}
    rules: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in table.splitlines():
        if not line.strip() or line[0] == "#":
            continue
        if line[0] == " ":
            lines.append(line.strip())
        elif ": " in line:
            keys, _, texts = line.partition(": ")
            alternatives = [_weighted(text) for text in texts.split(" | ")]
            for key in keys.split(", "):
                words.setdefault(key, []).extend(alternatives)
        else:
            lines = rules[line.strip()] = []
    return words, rules


def _weighted(text: str) -> tuple[str, float]:
    match = _WEIGHTED.fullmatch(text)
    return (match[1], float(match[2])) if match else (text, 1.0)
