"""A server's key: read from the environment, sent in one header, and shown nowhere."""

from __future__ import annotations

import os
import re

from captionlab.core.errors import UserError

DEFAULT_VARIABLE = "OPENAI_API_KEY"
HIDDEN = "***"
SHORTEST = (
    8  # characters; "EMPTY", "none", "dummy" stand where a server wants no key, and hide no words
)
PIECE = 12  # characters of a key that count as the key: a server may cut what it echoes


class Secret:
    """A key that its owner can send, and nobody can print."""

    def __init__(self, value: str) -> None:
        self._value = value
        size = min(PIECE, len(value))
        self._size = size if len(value) >= SHORTEST else 0
        self._pieces = {value[i : i + size] for i in range(len(value) - size + 1)}

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def header(self) -> dict[str, str]:
        """Return the header that sends the key."""
        return {"Authorization": f"Bearer {self._value}"}

    def is_in(self, text: str) -> bool:
        """Return whether a text holds the key, or a long piece of it."""
        return self.hide(text) != text

    def hide(self, text: str) -> str:
        """Return the text with the key, and long pieces of it, replaced."""
        size = self._size
        if not size:
            return text
        starts = [i for i in range(len(text) - size + 1) if text[i : i + size] in self._pieces]
        shown: list[str] = []
        end = 0
        for start in starts:
            if start > end or not shown:
                shown += [text[end:start], HIDDEN]
            end = start + size
        return "".join(shown) + text[end:]

    def hide_short(self, text: str) -> str:
        """Return the text with the whole key replaced, however short it is: for no caption."""
        return text.replace(self._value, HIDDEN)


def read_secret(variable: str | None) -> Secret | None:
    """Return the key that a variable of the environment holds.

    ``variable`` None is ``OPENAI_API_KEY``, which need not be there. Messages quote no value, and
    not the name either: who mistakes the option gives the key itself as the name.

    Raises:
        UserError: if a named variable is not set, or the value cannot be a key.
    """
    name = DEFAULT_VARIABLE if variable is None else variable
    value = os.environ.get(name, "").strip() if re.fullmatch(r"\w+", name) else ""
    if not value:
        if variable is None:
            return None
        raise UserError(
            "--key-variable wants the name of an environment variable that holds the key, such as "
            f"{DEFAULT_VARIABLE}, and never the key; there is no such variable, or it is empty"
        )
    if not re.fullmatch(r"[!-~]+", value):
        named = DEFAULT_VARIABLE if variable is None else "the variable of --key-variable"
        raise UserError(
            f"{named} holds no key: blanks, line breaks and letters beyond ASCII cannot be sent in a "
            "header; set it anew"
        )
    return Secret(value)
