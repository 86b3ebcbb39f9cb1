"""Which columns of a table hold the image, its captions or questions and answers, style and split.

By name, or by what is usual.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.readers.files import listed

# Names of columns in published tables, without case, blanks and signs. A column of an earlier tier
# goes before one of a later tier; two of the same tier are a question for the user.
IMAGE_TIERS = (
    ("image",),
    ("filename", "imagepath", "imgpath", "imagefile", "imagefilename", "filepath", "path"),
    ("imagename", "imgname", "img", "picture", "photo", "photograph", "file", "jpg", "png"),
    ("imageid", "imgid", "name", "id", "key", "uid"),
)
CAPTION_TIERS = (
    ("caption", "captions"),
    ("text", "texts", "sentence", "sentences", "description", "descriptions", "comment", "txt"),
    ("comments", "captiontext", "raw", "prompt", "alttext", "title", "references"),
)
QUESTION_TIERS = (("question",), ("questions", "questiontext", "query"))
ANSWER_TIERS = (("answers",), ("answer",), ("multiplechoiceanswer", "answertext", "label"))
QUESTION_IDS = ("questionid", "qid")
NUMBERED = re.compile(
    r"(caption|text|sentence|description|comment|raw)s?(\d+)"
)  # caption_0, caption_1
Names = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read: ``captions`` are one or several, those after it may be absent.

    Where there is a ``question``, ``captions`` are its answers.
    """

    image: str
    captions: tuple[str, ...]
    split: str | None = None
    image_id: str | None = None
    question: str | None = None
    question_id: str | None = None
    style: str | None = None

    def __str__(self) -> str:
        names = (self.image, self.question, self.style, *self.captions)
        return f"columns {', '.join(filter(None, names))}"


def choose_columns(
    header: Sequence[str],
    where: str,
    image_column: str | None = None,
    caption_column: Names = None,
    style_column: str | None = None,
    *,
    what: str = "column",
) -> Columns:
    """Return the columns to read of those that a header names.

    Args:
        header: the names in the file. where: the place that a sentence names.
        image_column, caption_column: what the user names; several captions as a list, or "a,b".
        style_column: the same, "" for none; an object need not have this key.
        what: what a name is in this kind of file: "column", "key".

    Raises:
        UserError: if a column that was named is not there, none has a usual name, or two do.
    """
    image = (
        _usual(header, where, IMAGE_TIERS, "image_column", what)
        if image_column is None
        else _named(header, where, str(image_column), "image_column", what)
    )
    rest = [name for name in header if name not in (image, style_column)]
    if caption_column is None:
        captions = _usual_captions(rest, where, what)
    else:
        names = _listed_names(caption_column)
        captions = tuple(_named(header, where, name, "caption_column", what) for name in names)
    by_key = {_key(name): name for name in reversed(rest) if name not in captions}
    style = _style(header, where, style_column, (image, *captions), what)
    return Columns(image, captions, by_key.get("split"), _image_id(rest, image), style=style)


def choose_question_columns(
    header: Sequence[str],
    where: str,
    image_column: str | None = None,
    question_column: str | None = None,
    answers_column: Names = None,
    style_column: str | None = None,
    *,
    what: str = "column",
) -> Columns:
    """Return the columns to read of a table of questions; arguments and errors as of ``choose_columns``."""
    image = (
        _usual(header, where, IMAGE_TIERS, "image_column", what)
        if image_column is None
        else _named(header, where, str(image_column), "image_column", what)
    )
    rest = [name for name in header if name not in (image, style_column)]
    question = (
        _usual(rest, where, QUESTION_TIERS, "question_column", what)
        if question_column is None
        else _named(rest, where, str(question_column), "question_column", what)
    )
    rest.remove(question)
    if answers_column is None:
        answers: tuple[str, ...] = (_usual(rest, where, ANSWER_TIERS, "answers_column", what),)
    else:
        names = _listed_names(answers_column)
        answers = tuple(_named(rest, where, name, "answers_column", what) for name in names)
    by_key = {_key(name): name for name in reversed(rest) if name not in answers}
    number = next((by_key[key] for key in QUESTION_IDS if key in by_key), None)
    split, image_id = by_key.get("split"), _image_id(rest, image)
    style = _style(header, where, style_column, (image, question, *answers), what)
    return Columns(image, answers, split, image_id, question, number, style)


def has_usual_columns(header: Sequence[str]) -> bool:
    """Return whether a header names an image and a caption, or a question, in one of the usual ways."""
    keys = {_key(name) for name in header}
    image = keys & {name for tier in IMAGE_TIERS for name in tier}
    caption = keys & {name for tier in CAPTION_TIERS for name in tier}
    written = caption or any(map(NUMBERED.fullmatch, keys)) or has_questions(header)
    return bool(image) and bool(written)


def has_questions(header: Sequence[str]) -> bool:
    """Return whether a header names a question and an answer in a usual way, and no caption."""
    keys = {_key(name) for name in header}
    both = all(
        keys & {name for tier in tiers for name in tier} for tiers in (QUESTION_TIERS, ANSWER_TIERS)
    )
    return both and not keys & set(CAPTION_TIERS[0])


def _key(name: str) -> str:
    return re.sub(r"[\s_\-.]", "", name).lower()


def _image_id(names: Sequence[str], image: str) -> str | None:
    # any other column of numbers (id, index) may be that of the caption
    return "image_id" if "image_id" in names and image != "image_id" else None


def _style(
    header: Sequence[str], where: str, named: str | None, others: Sequence[str], what: str
) -> str | None:
    """Return the column of styles: the one that is named, or one that is called so; None for none."""
    if named is None:
        return next((n for n in header if names_style([n]) and n not in others), None)
    if not named or (what == "key" and named not in header):
        return None
    style = _named(header, where, named, "style_column", what)
    if style in others:
        raise UserError(
            f"{where}: {what} {style!r} holds the image or its text: data.source.style_column must name "
            "another one"
        )
    return style


def names_style(header: Iterable[object], style_column: str | None = None) -> bool:
    """Return whether a header has a column of styles."""
    keys = map(str, header)
    if style_column is not None:
        return bool(style_column) and style_column in keys
    return any(_key(name) == "style" for name in keys)


def require_style_column(named: str, keys: Sequence[str], where: str) -> None:
    """Refuse the name of a key of styles that no object has; ``keys`` are those of one of them."""
    _named(keys, where, named, "style_column", "key")


def _listed_names(names: str | Sequence[str]) -> list[str]:
    parts = names.split(",") if isinstance(names, str) else names
    return [str(name).strip() for name in parts if str(name).strip()]


def _named(header: Sequence[str], where: str, name: str, key: str, what: str) -> str:
    if name in header:
        return name
    if name == "caption" and "captions" in header:
        return "captions"
    hint = did_you_mean(name, header)
    raise UserError(
        f"{where}: no {what} {name!r}: {hint} "
        f"({what}s: {listed(header, 12)}; or set data.source.{key})"
    )


def _usual(
    header: Sequence[str], where: str, tiers: Sequence[Sequence[str]], option: str, what: str
) -> str:
    for tier in tiers:
        fitting = [name for name in header if _key(name) in tier]
        if len(fitting) > 1:
            raise UserError(
                f"{where}: both {fitting[0]!r} and {fitting[1]!r} may be the {option}: "
                f"set data.source.{option}={fitting[0]}"
            )
        if fitting:
            return fitting[0]
    part = option.removesuffix("_column")
    raise UserError(
        f"{where}: no {what} {part!r}, and none of another usual name "
        f"({what}s: {listed(header, 12) or 'none'}): set data.source.{option}"
    )


def _usual_captions(header: Sequence[str], where: str, what: str) -> tuple[str, ...]:
    if "caption" in header and "captions" in header:
        return ("captions" if what == "key" else "caption",)
    known = {name for tier in CAPTION_TIERS for name in tier}
    numbered = [
        (match[1], int(match[2][:9]), name)
        for name in header
        if (match := NUMBERED.fullmatch(_key(name)))
    ]
    if numbered and not any(_key(name) in known for name in header):
        words = {word for word, _, _ in numbered}
        if len(words) == 1:
            return tuple(name for _, _, name in sorted(numbered))
    return (_usual(header, where, CAPTION_TIERS, "caption_column", what),)
