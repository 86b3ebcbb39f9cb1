"""Captions, questions and answers as a field of JSON or a cell of a table holds them."""

from __future__ import annotations

import json

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.text.prompts import Prompt


def captions_of(value: object, where: str, key: str) -> list[str]:
    """Return a field of captions as a list: text, texts, or objects with the text.

    Raises:
        UserError: if it is, or holds, something else.
    """
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        texts = []
        for index, one in enumerate(value):
            name = next(
                (n for n in ("raw", "caption", "text", "sentence", "answer") if n in one), None
            )
            if name is None:
                raise UserError(f"{where}: {key}[{index}] has no 'raw', 'caption' or 'answer' text")
            texts.append(fields.text(one[name], where, f"{key}[{index}].{name}"))
        return texts
    return fields.captions(value, where, key)


def question(text: str, number: object, where: str) -> Prompt:
    """Return what is given before the answers to a question.

    Raises:
        UserError: if there is no question, or its id is neither a whole number nor text.
    """
    asked = " ".join(text.split())
    if not asked:
        raise UserError(f"{where}: no question here: leave the row out")
    if number is None:
        return Prompt(question=asked)
    return Prompt(question=asked, id=fields.identifier(number, where, "question_id"))


def answers_of(cell: str, where: str, column: str) -> list[str]:
    """Return the answers in a table's cell: a JSON list of texts, or the one that it says.

    Raises:
        UserError: if it looks like a list, and is none of texts.
    """
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [cell]
    try:
        return captions_of(json.loads(text), where, column)
    except (ValueError, RecursionError):
        raise UserError(
            f"{where}: {column!r} is no list in JSON: {text[:60]!r} must be written "
            '["yes", "no"], in a CSV with the double quotes doubled'
        ) from None
