"""JSON and JSON Lines of other people, with true sentences about what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.readers.files import read_text

LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")


def read_json(path: Path, encoding: str | None = None) -> object:
    """Return the parsed file; UserError with line, column and character where it is not JSON."""
    text = read_text(path, encoding)
    try:
        return _parsed(text, str(path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos]:
            raise UserError(
                f"{path} holds one JSON value a line (JSON Lines; the second begins in line "
                f"{error.lineno}), not one for the whole file: data=jsonl reads such files"
            ) from None
        raise UserError(bad_json(path, text, error)) from None


def read_json_line(path: Path, lines: Sequence[str], number: int) -> object:
    """Return the value of one line (from 1) of a JSON Lines file.

    Raises:
        UserError: with the line's number if it is no JSON, or if the file is one JSON value that
            goes over several lines.
    """
    line = lines[number - 1]
    try:
        value = _parsed(line, f"{path}:{number}")
    except json.JSONDecodeError as error:
        whole = _whole(lines)
        if whole is not None:
            raise UserError(_no_lines(path, whole)) from None
        raise UserError(bad_json(path, line, error, first_line=number)) from None
    if isinstance(value, list) and sum(bool(one.strip()) for one in lines) == 1:
        raise UserError(_no_lines(path, value))
    return value


def bad_json(path: Path, text: str, error: json.JSONDecodeError, first_line: int = 1) -> str:
    """Return the sentence that says where ``text``, which starts at ``first_line``, is no JSON."""
    line = error.lineno + first_line - 1
    place = f"line {line:,}, column {error.colno:,} (character {error.pos:,} of {len(text):,})"
    what = error.msg.removesuffix(" starting at")
    if _breaks_off(text, error):
        return f"{path} is cut in half: its JSON breaks off at {place}: {what}; fetch it again"
    return f"{path} is not JSON at {place}: {what}"


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise UserError(f"{where} is nested too deeply to be read as JSON") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{where} is not JSON that can be read: {error}") from None


def _breaks_off(text: str, error: json.JSONDecodeError) -> bool:
    """Return whether nothing is wrong with ``text`` but that it ends too early."""
    rest = text[error.pos :].rstrip()
    if not rest or error.msg.startswith("Unterminated string"):  # which goes on to the text's end
        return True
    if "escape" in error.msg:  # \u12 at the very end
        return len(text.rstrip()) - text.rfind("\\") < 6
    return any(literal.startswith(rest) and literal != rest for literal in LITERALS)


def _whole(lines: Sequence[str]) -> object:
    """Return the value that all lines together are, None if they are none."""
    try:
        return _parsed("\n".join(lines), "")
    except (json.JSONDecodeError, UserError):
        return None


def _no_lines(path: Path, whole: object) -> str:
    if isinstance(whole, dict) and {"images", "annotations"} <= set(whole):
        return f"{path} is a file in COCO's form, not JSON Lines: data=coco reads such files"
    kind = "array" if isinstance(whole, list) else "value"
    way = (
        "write each object of it on a line of its own (jq -c '.[]' does it)"
        if isinstance(whole, list)
        else "write one object a line (jq -c . does it)"
    )
    return f"{path} is one JSON {kind}, not JSON Lines: {way}"
