"""Sentences from a table: a grammar of weighted words and guarded patterns.

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

The table becomes Python functions, one an entry: walking it sentence by sentence takes twice as long.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import accumulate
from random import Random
from typing import Any

from captionlab.shapes.plan import Ground, Message

Test = Callable[["Sentence"], bool]

_NO_GROUND = Ground()
_REFERENCE = re.compile(r"\{([^}]*)\}")
_WEIGHTED = re.compile(r"(.*) (\d+(?:\.\d+)?)")


class Sentence:
    """A sentence in the making: its message, the noun at hand, and what rules have made so far."""

    def __init__(self, message: Message, rng: Random) -> None:
        self.message = message
        self.ground = message.ground or _NO_GROUND
        self.random = rng.random
        self.made: dict[str, str] = {}
        if message.nouns:
            self.noun = message.nouns[0]
            self.first = self.noun.objects[0]


# expressions of a sentence s
VARIABLES = {
    "kind": "s.message.kind",
    "value": "s.message.value",
    "attribute": "getattr(s.first, s.message.value)",
    "shape": "s.first.shape",
    "color": "s.first.color",
    "size": "s.first.size",
    "texture": "s.first.texture",
    "place": "s.noun.place",
    "count": "str(len(s.noun.objects))",
    "tone": "s.ground.tone",
    "ground": "s.ground.color",
    "pattern": "s.ground.pattern",
}
CONDITIONS = {
    "definite": "s.noun.definite",
    "many": "len(s.noun.objects) > 1",
    "shape": "'shape' in s.noun.attributes",
    "color": "'color' in s.noun.attributes",
    "size": "'size' in s.noun.attributes",
    "texture": "'texture' in s.noun.attributes",
    "ground": "s.message.ground is not None",
    "tone": "s.ground.tone",
    "tint": "s.ground.color",
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
        self._write = _Compiler(table, forms or {}, conditions or {}).compile()

    def write(self, message: Message, rng: Random) -> str:
        """Return one sentence that says what the message says."""
        return self._write(Sentence(message, rng))

    def length(self, text: str) -> int:
        """Return the number of a sentence's words, or of its characters with the punctuation."""
        return text.count(" ") + 1 if self.spaced else len(text)


class _Compiler:
    """Turns entries into functions of a sentence; methods return Python expressions of s."""

    def __init__(
        self,
        table: str,
        forms: Mapping[str, Callable[[str], str]],
        conditions: Mapping[str, Test],
    ) -> None:
        self._words, self._rules = _entries(table)
        self._keys = {
            key: f"entry{number}" for number, key in enumerate((*self._words, *self._rules))
        }
        self._made = {n for lines in self._rules.values() for n, _ in map(_binding, lines) if n}
        self._forms, self._conditions = forms, conditions
        self._names: dict[str, Any] = {"bisect": bisect, "series": _series}
        self._names |= {f"form_{name}": form for name, form in forms.items()}
        self._tests = {name: f"test{number}(s)" for number, name in enumerate(conditions)}
        self._names |= {f"test{i}": test for i, test in enumerate(conditions.values())}
        taken = {*self._keys, *VARIABLES, *CONDITIONS, *conditions}
        if doubled := (self._words.keys() & self._rules.keys()) | (taken & self._made):
            raise AssertionError(f"two entries have one name: {sorted(doubled)}")

    def compile(self) -> Callable[[Sentence], str]:
        """Return the function of the entry "sentence"."""
        source = [
            self._choice(key, *zip(*texts, strict=True)) for key, texts in self._words.items()
        ]
        source += [self._rule(name, lines) for name, lines in self._rules.items()]
        source += [self._noun(rule) for rule in self._rules]
        # the tables of this package, nothing from outside
        exec("\n".join(source), self._names)  # noqa: S102
        self._names["entries"] = {key: self._names[name] for key, name in self._keys.items()}
        write: Callable[[Sentence], str] = self._names[self._keys["sentence"]]
        return write

    def _choice(self, key: str, texts: tuple[str, ...], weights: tuple[float, ...]) -> str:
        """Return a choice by weight; the draws are those of Random.choices."""
        name = self._keys[key]
        if len(texts) == 1:
            return f"def {name}(s): return {self._template(texts[0])}"
        bounds = list(accumulate(weights))
        self._names[f"{name}_bounds"] = bounds
        place = f"bisect({name}_bounds, s.random() * {bounds[-1]!r}, 0, {len(texts) - 1})"
        if not any("{" in text for text in texts):
            return f"{name}_texts = {texts!r}\ndef {name}(s): return {name}_texts[{place}]"
        options = ", ".join(f"lambda s: {self._template(text)}" for text in texts)
        return f"{name}_texts = ({options},)\ndef {name}(s): return {name}_texts[{place}](s)"

    def _rule(self, name: str, lines: list[str]) -> str:
        source = [f"def {self._keys[name]}(s):", " made, draw = s.made, -1.0"]
        for line in lines:
            bound, text = _binding(line)
            if bound:
                source.append(f" made[{bound!r}] = {self._template(text)}")
            elif line[0] == "?":
                guard, _, text = line[1:].partition(":")
                source.append(f" if {self._guard(guard)}: return {self._template(text.strip())}")
            else:
                source.append(f" return {self._template(line)}")
        return "\n".join(source)

    def _noun(self, rule: str) -> str:
        """Return a function that has a rule make one of the message's nouns."""
        return (
            f"def noun_{self._keys[rule]}(s, number):\n"
            " before = s.noun, s.first\n"
            " s.noun = s.message.nouns[number]\n"
            " s.first = s.noun.objects[0]\n"
            f" text = {self._keys[rule]}(s)\n"
            " s.noun, s.first = before\n"
            " return text"
        )

    def _guard(self, text: str) -> str:
        joint = " or " if " or " in text else " and "
        return joint.join(self._atom(atom.strip()) for atom in text.split(joint))

    def _atom(self, text: str) -> str:
        if text.startswith("not "):
            return f"not ({self._atom(text[4:])})"
        if text[0] in ".0123456789":
            return f"(draw if draw >= 0 else (draw := s.random())) < {text}"
        name, equals, values = text.partition("=")
        if equals:
            return f"{self._variable(name)} in {tuple(values.split('/'))!r}"
        if text in self._made:
            return f"s.made.get({text!r})"
        return self._tests[text] if text in self._tests else CONDITIONS[text]

    def _variable(self, name: str) -> str:
        return f"s.made[{name!r}]" if name in self._made else VARIABLES[name]

    def _template(self, text: str) -> str:
        if text[:1] == text[-1:] == '"':
            text = text[1:-1]
        parts = [
            self._reference(piece) if odd % 2 else repr(piece)
            for odd, piece in enumerate(_REFERENCE.split(text))
            if piece
        ]
        return " + ".join(parts) or "''"

    def _reference(self, text: str) -> str:
        name, _, form = text.partition(".")
        if name.isdecimal():
            return f"noun_{self._keys[form or 'phrase']}(s, {name})"
        if form:
            if form not in self._forms:
                raise AssertionError(f"there is no form {form!r}: {text!r}")
            return f"form_{form}({self._reference(name)})"
        if name in self._made:
            return f"s.made[{name!r}]"
        if name in ("nouns", "others"):
            start, joint = (0, "and") if name == "nouns" else (1, "and others")
            functions = ", ".join(self._keys[key] for key in ("phrase", "comma", joint))
            return f"series(s, {start}, noun_{functions})"
        return self._entry(name)

    def _entry(self, text: str) -> str:
        """Return a word or rule by its key; a part of the key that begins with $ is a variable."""
        if "$" in text:
            parts = [
                f"{{{self._variable(part[1:])}}}" if part[0] == "$" else part
                for part in text.split(" ")
            ]
            return f'entries[f"{" ".join(parts)}"](s)'
        if text not in self._keys:
            raise AssertionError(f"there is no word, rule or name {text!r}")
        texts = self._words.get(text, [])
        return self._template(texts[0][0]) if len(texts) == 1 else f"{self._keys[text]}(s)"


def _series(
    s: Sentence,
    start: int,
    noun: Callable[[Sentence, int], str],
    comma: Callable[[Sentence], str],
    joint: Callable[[Sentence], str],
) -> str:
    """Return the nouns from one on as "a, b and c"."""
    texts = [noun(s, number) for number in range(start, len(s.message.nouns))]
    if len(texts) == 1:
        return texts[0]
    before = texts[0] if len(texts) == 2 else comma(s).join(texts[:-1])
    return f"{before}{joint(s)}{texts[-1]}"


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
