"""Overrides as people type them (``data.root=my photos``), in the grammar that Hydra reads."""

from __future__ import annotations

import shlex
from collections.abc import Container, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from captionlab.core.errors import UserError

# overrides that name where weights come from, not what is tried
WEIGHTS_OVERRIDES = ("ckpt=", "init_from=")
# a value that begins so was meant to be a list, a mapping or a text in quotes
_STRUCTURED = ("[", "{", "(", '"', "'")


def parse_override(text: str) -> Override:
    """Return an override as Hydra parses it.

    Raises:
        UserError: if it cannot be read, with a way to write it.
    """
    readable = as_readable(text)
    try:
        return OverridesParser.create().parse_overrides([readable])[0]
    except HydraException as error:
        raise UserError(explain_override(text)) from error


def override_text(key: str, value: str) -> str:
    """Return the override that gives ``key`` this very text, in quotes where Hydra needs them."""
    for text in (f"{key}={value}", f'{key}="{_escaped(value)}"'):
        if _value_of(text) == value:
            return text
    raise UserError(f"{key}={value!r} cannot be written on a command line: rename it.")


def _escaped(value: str) -> str:
    # in Hydra's quotes a backslash stands for itself, but before a quote
    text = ""
    for index, letter in enumerate(value):
        rest = value[index:].lstrip("\\")
        ends = letter == "\\" and (not rest or rest.startswith('"'))
        text += "\\" + letter if letter == '"' or ends else letter
    return text


def _value_of(text: str) -> object:
    try:
        override = OverridesParser.create().parse_overrides([text])[0]
    except HydraException:
        return None
    value = None if override.is_sweep_override() else override.value()
    return value if type(value) is str else None


def as_readable(text: str, is_sweep: bool = False) -> str:
    """Return an override that Hydra can read: a value with other letters than it knows, in quotes.

    Hydra stops at letters of most languages and at ``~ = ( [ #`` within a value, as paths have
    them. What begins like a list or a quoted text is left alone. With ``is_sweep`` a comma parts
    values, each of which is looked at by itself.
    """
    key, sign, value = text.partition("=")
    if not sign or not _is_key(key) or value.startswith(_STRUCTURED) or "${" in value:
        return text
    try:
        OverridesParser.create().parse_overrides([text])
    except HydraException:
        values = value.split(",") if is_sweep else [value]
        parts = [override_text("key", one).removeprefix("key=") for one in values]
        return f"{key}={','.join(parts)}"
    return text


def as_readable_arguments(arguments: Sequence[str], groups: Container[str] = ()) -> list[str]:
    """Return a command line whose overrides Hydra can read.

    ``groups`` are the names of groups, of which null is no choice to Hydra: it wants ``~GROUP``.
    """
    is_sweep = any(one in ("-m", "--multirun") for one in arguments)
    return [_as_choice(as_readable(one, is_sweep), groups) for one in arguments]


def _as_choice(text: str, groups: Container[str]) -> str:
    """Return an override of a group as Hydra takes it: a text, or nothing."""
    key, sign, value = text.partition("=")
    if not sign or key not in groups:
        return text
    if value == "null":
        return f"~{key}"
    try:
        parsed = OverridesParser.create().parse_overrides([text])[0]
    except HydraException:
        return text  # explained where it is composed
    # what looks like a number is the name of a choice all the same
    return override_text(key, value) if isinstance(parsed.value(), int | float) else text


def _is_key(key: str) -> bool:
    """Return whether Hydra takes this for a key; an option of the command line is none."""
    try:
        OverridesParser.create().parse_overrides([f"{key}=x"])
    except HydraException:
        return False
    return not key.startswith("-")


def explain_override(text: str) -> str:
    """Return the sentence for an override that cannot be read."""
    key, sign, value = text.partition("=")
    if not text.isprintable():
        return f"{text!r} cannot be read: it holds characters that cannot be printed"
    if not sign:
        return f"{text!r} cannot be read as an override: say KEY=VALUE, or GROUP=CHOICE"
    if not _is_key(key):
        return f"{text} cannot be read: {key!r} is no key; say KEY=VALUE, or GROUP=CHOICE"
    bare = value.strip("\"'[]{}() ")
    try:
        hint = f"if a text is meant, put it in quotes: {shlex.quote(override_text(key, bare))}"
    except UserError as error:
        hint = str(error)
    if value.startswith(("[", "{")):
        close = {"[": "]", "{": "}"}[value[0]]
        hint = f"a list or mapping that begins with {value[0]} ends with {close}; {hint}"
    elif value.startswith(('"', "'")):
        hint = f"a text in quotes ends with the quote that it begins with; {hint}"
    return f"{text} cannot be read: {hint}"


def explain_comma(text: str) -> str:
    """Return the sentence for a value with a comma that is given to a single run."""
    key, _, value = text.partition("=")
    quoted = shlex.quote(f'{key}="{value}"')
    return (
        f"{text} has a comma, which parts the values of a sweep: add -m for one run a value, or say "
        f"{quoted} for a text (in quotes), {shlex.quote(f'{key}=[{value}]')} for a list"
    )
