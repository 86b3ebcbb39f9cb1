"""Captions of your own: any CSV, any JSON Lines file, any table of names and captions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers.columns import Names
from captionlab.data.readers.division import divided
from captionlab.data.readers.fields import identifier
from captionlab.data.readers.files import data_root, nearest, read_lines, read_text
from captionlab.data.readers.matching import match_names
from captionlab.data.readers.object_rows import jsonl_items, object_rows
from captionlab.data.readers.styles import require_few
from captionlab.data.readers.table_rows import Options, Row, csv_rows
from captionlab.data.records import Entry, Reader
from captionlab.text.prompts import NO_PROMPT, Prompt

logger = logging.getLogger(__name__)

# how other people's files call the three splits
SPLIT_NAMES = {
    "training": "train",
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}
MOST_DIGITS = 4300  # that Python makes a number of
DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "blank": " "}


# the image's name, the question and the place of each question's id
Asked = dict[int | str, tuple[str, str, str]]


@dataclass(slots=True)
class _Image:
    place: str
    image_id: int | str
    split: str | None
    captions: list[str] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)


class TableReader(Reader):
    """Joins the rows of tables to images; rows of the same image join their captions.

    ``rows``: each table's rows, by file. ``form``: what the one line in the log calls them.
    """

    LAYOUT: ClassVar[str]

    def __init__(
        self,
        rows: Mapping[Path, Iterator[Row]],
        *,
        root: Path | None,
        language: str,
        form: str,
    ) -> None:
        images: dict[str, _Image] = {}
        asked: Asked = {}
        styles: dict[str, str] = {}
        for file, of_file in rows.items():
            _join(images, _with_few_styles(of_file, file, styles), file, asked)
        file = next(iter(rows))
        if not images:
            raise UserError(f"{file} has no rows below its header; expected: {self.LAYOUT}")
        _require_splits(images)
        split_of, division = divided({name: image.split for name, image in images.items()})
        places = {name: image.place for name, image in images.items()}
        match = match_names(places, file, root)
        entries = [
            Entry(
                split_of[name],
                image.image_id,
                match.paths[name],
                image.captions,
                image.place,
                image.prompts if any(image.prompts) else (),
            )
            for name, image in images.items()
        ]
        super().__init__(entries, language=language, origin=file)
        self.announce(", ".join(filter(None, (form, match.how))), division)


class CsvCaptions(TableReader):
    """A CSV with a header: `image`, `caption` (one a row), and if you like `split` and `image_id`.

    Columns of other usual names (file_name, text, caption_1 ...) are found, and any are by
    `image_column` and `caption_column` ("a,b" for several). Names without ending, numbers and
    another machine's paths are matched with the pictures below `root`. A caption that holds the
    delimiter or a line break stands in double quotes. Without a split column the images are divided
    80/10/10 by a hash of their names. `delimiter` is one character or "tab".

    With columns `question` and `answer` or `answers` (a JSON list, several rows, or one text) the
    answers are the captions, each with its question; `question_id` is read if it is there. A column
    `style` (`style_column` names another one, "" none) says whose or what manner of captions these
    are; an empty cell names none.
    """

    LAYOUT = "a CSV with the header image,caption[,split][,image_id], image paths relative to ROOT"

    def __init__(
        self,
        *,
        file: str = "captions.csv",
        root: str | None = None,
        delimiter: str = ",",
        image_column: str | None = None,
        caption_column: Names = None,
        question_column: str | None = None,
        answers_column: Names = None,
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = table_file(file, root, self.LAYOUT)
        options = Options(
            image_column, caption_column, question_column, answers_column, style_column
        )
        rows = csv_rows(path, read_text(path, encoding), require_delimiter(delimiter), options)
        super().__init__({path: rows}, root=folder, language=language, form=f"table {path.name}")


class JsonlCaptions(TableReader):
    """One JSON object a line: `image`, `caption` or `captions` (a string or a list of strings).

    `split` and `image_id` may be there as well; the rest is as for a CSV.
    """

    LAYOUT = (
        'lines {"image": "a.jpg", "captions": ["...", "..."], "split": "train", "image_id": 1}, '
        "the last two if you like, image paths relative to ROOT"
    )

    def __init__(
        self,
        *,
        file: str = "captions.jsonl",
        root: str | None = None,
        image_column: str | None = None,
        caption_column: Names = None,
        question_column: str | None = None,
        answers_column: Names = None,
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = table_file(file, root, self.LAYOUT)
        items = jsonl_items(path, read_lines(path, encoding))
        options = Options(
            image_column, caption_column, question_column, answers_column, style_column
        )
        rows = object_rows(path, items, options)
        form = f"JSON Lines {path.name}"
        super().__init__({path: rows}, root=folder, language=language, form=form)


def require_delimiter(delimiter: str) -> str:
    """Return the character that parts cells; UserError for anything else."""
    sign = DELIMITERS.get(delimiter, delimiter)
    if len(sign) != 1 or sign in '"\r\n':
        raise UserError(
            f"data.source.delimiter={delimiter!r} is not one character (or 'tab') "
            "that can part cells"
        )
    return sign


def _join(images: dict[str, _Image], rows: Iterator[Row], file: Path, asked: Asked) -> None:
    """Add the rows of a table to the images by name, and the ids of their questions to ``asked``."""
    owner: dict[int | str, str] = {image.image_id: name for name, image in images.items()}
    absolute: dict[bool, str] = {}
    for row in rows:
        where = f"{file}{row.place}"
        # a file written on Windows
        name = row.image.strip().replace("\\", "/")
        if not name:
            raise UserError(f"{where}: the image is empty")
        absolute.setdefault(_is_absolute(name), row.place)
        if len(absolute) == 2:
            raise UserError(
                f"{file} mixes absolute image paths ({_line(absolute[True])}) and relative ones "
                f"({_line(absolute[False])}): use one kind"
            )
        split = split_name(row.split)
        image_id = _image_id(row.image_id, name, where)
        known = images.get(name)
        if known is None:
            if owner.setdefault(image_id, name) != name:
                raise UserError(
                    f"{where}: image_id {image_id!r} belongs to {owner[image_id]} already"
                )
            known = images[name] = _Image(where, image_id, split)
        if (known.split, known.image_id) != (split, image_id):
            what = "split" if known.split != split else "image_id"
            now, before = getattr(row, what), getattr(known, what)
            raise UserError(
                f"{where}: {name} has {what} {now!r} here, but {before!r} at {known.place}"
            )
        for prompt in row.prompts[:1] if row.prompts else ():
            _require_one_question(asked, prompt, name, where)
        known.captions.extend(row.captions)
        known.prompts.extend(row.prompts or [NO_PROMPT] * len(row.captions))


def _with_few_styles(rows: Iterator[Row], file: Path, styles: dict[str, str]) -> Iterator[Row]:
    """Yield rows, and refuse too many different styles; ``styles`` says where each stands first."""
    for row in rows:
        for prompt in row.prompts[:1]:
            if prompt.style and prompt.style not in styles:
                styles[prompt.style] = f"{file}{row.place}"
                require_few(styles, file)
        yield row


def _require_one_question(asked: Asked, prompt: Prompt, name: str, where: str) -> None:
    """Refuse a question whose id another one has; rows of one question may follow each other."""
    if prompt.id is None:
        return
    image, text, place = asked.setdefault(prompt.id, (name, prompt.question, where))
    if (image, text) != (name, prompt.question):
        raise UserError(
            f"{where}: question_id {prompt.id!r} is that of {text[:60]!r} about {image} already "
            f"({place})"
        )


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or (name[1:3] == ":/" and name[0].isalpha())


def _line(place: str) -> str:
    return f"line {place[1:]}" if place[1:].isdecimal() else place.strip(": ")


def _require_splits(images: Mapping[str, _Image]) -> None:
    unsplit = [image for image in images.values() if image.split is None]
    if unsplit and len(unsplit) < len(images):
        raise UserError(
            f"{unsplit[0].place}: no split here, while other rows name one "
            f"({len(unsplit):,} images without)"
        )


def split_name(split: str | None) -> str | None:
    """Return the name of a split as captionlab calls it; None where there is none."""
    name = str(split).strip().lower() if split is not None else ""
    return SPLIT_NAMES.get(name, name) or None


def _image_id(value: object, name: str, where: str) -> int | str:
    if value is None or value == "":
        return name
    # COCO's result format has numbers; 007 stays a text, or it would lose its zeros
    text = str(identifier(value, where, "image_id")).strip()
    is_number = text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
    return int(text) if is_number and len(text) <= MOST_DIGITS else text


def table_file(file: str, root: str | None, layout: str) -> tuple[Path, Path | None]:
    """Return a table's path, below the root or as it stands, and the root.

    Raises:
        UserError: if it is not there, with what is nearest.
    """
    folder = data_root(root, layout) if root is not None else None
    given = Path(file).expanduser()
    places = [folder / given, given] if folder else [given]
    for path in places:
        if path.is_file():
            return path, folder
    raise UserError(
        f"data.source.file={file} does not exist (looked for {places[0]}): {nearest(places[0])}; "
        f"expected: {layout}"
    )
