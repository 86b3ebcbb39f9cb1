"""Fields of other people's JSON and tables: each is of its type, or one sentence says where not.

``where`` is the place that a sentence names: ``file:line`` or ``file: images[3]``.
"""

from __future__ import annotations

import math
import reprlib

from captionlab.core.errors import UserError

# what data frames write into a text column where there is no value
NO_VALUE = frozenset({"nan", "none", "null", "<na>"})


def text(value: object, where: str, key: str) -> str:
    """Return a field that must be text.

    Raises:
        UserError: if it is of another type, or holds half of a character (a lone surrogate, which
            no file can hold).
    """
    if not isinstance(value, str):
        raise UserError(f"{where}: {key!r} must be text, not {named(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            raise UserError(
                f"{where}: {key!r} holds half of a character, {half}: write it again as UTF-8"
            ) from None
    return value


def file_name(value: object, where: str, key: str) -> str:
    """Return a field that must be the name of a file.

    Raises:
        UserError: if it is no text, empty, or holds a zero byte.
    """
    name = text(value, where, key)
    if not name.strip() or "\0" in name:
        raise UserError(f"{where}: {key!r} must be the name of a file, not {name[:60]!r}")
    return name


def identifier(value: object, where: str, key: str) -> int | str:
    """Return a field that must be a whole number or a text.

    Raises:
        UserError: if it is of another type; true, 1.5, null and lists are.
    """
    if isinstance(value, str):
        return text(value, where, key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where}: {key!r} must be a whole number or text, not {named(value)}")
    return value


def captions(value: object, where: str, key: str) -> list[str]:
    """Return a field that must be a text or a list of texts, as a list.

    Raises:
        UserError: if it is, or holds, something else.
    """
    if isinstance(value, str):
        return [text(value, where, key)]
    if not isinstance(value, list):
        raise UserError(f"{where}: {key!r} must be text or a list of texts, not {named(value)}")
    return [text(one, where, f"{key}[{index}]") for index, one in enumerate(value)]


def cell(value: str) -> str:
    """Return a table's cell, empty where it holds nothing but a data frame's sign for no value."""
    return "" if value.strip().lower() in NO_VALUE else value


def named(value: object) -> str:
    """Return a value as a sentence names it: in JSON's words, and short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    kind = {dict: "the object ", list: "the list ", float: "the number ", int: "the number "}
    return f"{kind.get(type(value), '')}{reprlib.repr(value)}"
