"""Styles as a table or JSON names them: whose captions these are, or of what manner."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.text.prompts import Prompt

# each style is a token of the vocabulary and a group of scores
MOST_STYLES = 1000
LONGEST_STYLE = 100  # characters
_JOINERS = "\u200c\u200d"  # which names in Persian and Indic scripts need
NONE_READ = "data.source.style_column='' reads no styles"


def style_of(value: object, where: str, key: str) -> str:
    """Return the style that a cell or a field names; empty where it names none.

    Any white space is one blank; numbers, such as those of authors, are names.

    Raises:
        UserError: if it is no name: of another type, far too long, or with characters that cannot be
            seen.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(
            f"{where}: {key!r} must be the name of a style, not {fields.named(value)}; {NONE_READ}"
        )
    name = " ".join(fields.cell(str(fields.identifier(value, where, key))).split())
    if len(name) > LONGEST_STYLE:
        raise UserError(
            f"{where}: {key!r} has {len(name):,} characters ({name[:30]!r}...), and the name of a style "
            f"{LONGEST_STYLE} at most; {NONE_READ}"
        )
    unseen = next((sign for sign in name if _is_unseen(sign)), None)
    if unseen is not None:
        raise UserError(
            f"{where}: {key!r} holds a character that cannot be seen, U+{ord(unseen):04X}: {name!r}"
        )
    return name


def styled(prompts: Sequence[Prompt], captions: int, style: str) -> Sequence[Prompt]:
    """Return the prompts of so many captions, which may have none yet, with a style."""
    if not style:
        return prompts
    if not prompts:
        return [_of_style(style)] * captions
    changed = {prompt: replace(prompt, style=style) for prompt in prompts}
    return [changed[prompt] for prompt in prompts]


def require_few(places: Mapping[str, str], origin: Path) -> None:
    """Refuse more styles than a captioner is asked for.

    Raises:
        UserError: if there are; ``places`` says where each style stands first.
    """
    if len(places) <= MOST_STYLES:
        return
    name, where = list(places.items())[MOST_STYLES]
    raise UserError(
        f"{origin} has more than {MOST_STYLES:,} different styles, the next one is {name!r} ({where}): "
        f"a style is a name that many captions share; {NONE_READ}"
    )


@lru_cache(maxsize=MOST_STYLES)
def _of_style(style: str) -> Prompt:
    return Prompt(style=style)  # one object for all captions of it


def _is_unseen(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in _JOINERS
