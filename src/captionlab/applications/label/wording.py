"""Texts of people as they are kept: one clean line, bounded."""

from __future__ import annotations

import unicodedata

from captionlab.applications.endpoint.answers import clean
from captionlab.applications.label.store import LONGEST_CAPTION, LONGEST_PERSON
from captionlab.core.errors import UserError


def clean_caption(text: object, where: str) -> str:
    """Return a caption as one line in Unicode's composed form.

    Raises:
        UserError: if it is no text, empty, or longer than LONGEST_CAPTION.
    """
    return _line(text, where, "a caption", LONGEST_CAPTION)


def clean_person(text: object, where: str) -> str:
    """Return a person's name as one line.

    Raises:
        UserError: if it is no text, empty, or longer than LONGEST_PERSON.
    """
    return _line(text, where, "a name", LONGEST_PERSON)


def _line(text: object, where: str, what: str, most: int) -> str:
    if not isinstance(text, str):
        raise UserError(f"{where}: {what} must be text, not {type(text).__name__}")
    if len(text) > 4 * most:  # before it is worked on
        raise UserError(f"{where}: {what} of {len(text):,} characters; {most:,} are the most")
    line = clean(unicodedata.normalize("NFC", text), None)
    if not line:
        raise UserError(f"{where}: {what} is empty")
    if len(line) > most:
        raise UserError(f"{where}: {what} of {len(line):,} characters; {most:,} are the most")
    return line
