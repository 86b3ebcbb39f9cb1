"""The rows of a table of captions: of a CSV, of lines without a header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.data.readers.columns import (
    Columns,
    Names,
    choose_columns,
    choose_question_columns,
    has_questions,
    has_usual_columns,
)
from captionlab.data.readers.styles import style_of, styled
from captionlab.data.readers.texts import answers_of, question
from captionlab.text.prompts import Prompt

Sign = Literal["\t", ",", ";", "|", " "]
FLICKR_NUMBER = re.compile(r"(.+?)(?:#[a-z]+)?#\d+")  # IMAGE.jpg#3


@dataclass(slots=True)
class Row:
    """One row of a table: where it stands and what it says.

    ``place`` goes behind the file's name: ":3", ": [3]". ``prompts``: one a caption, or none.
    """

    place: str
    image: str
    captions: list[str]
    split: str | None = None
    image_id: int | str | None = None
    prompts: Sequence[Prompt] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says of a table's columns; null: the usual names. ``style_column`` "" is none.

    UserError for both captions and answers.
    """

    image_column: str | None = None
    caption_column: Names = None
    question_column: str | None = None
    answers_column: Names = None
    style_column: str | None = None

    def __post_init__(self) -> None:
        if self.caption_column is not None and self.asks:
            raise UserError(
                f"data.source.caption_column={self.caption_column} stands beside a question_column or "
                "answers_column: of a table of questions the captions are the answers, so name those alone"
            )

    @property
    def asks(self) -> bool:
        """Whether the user says that there are questions."""
        return self.question_column is not None or self.answers_column is not None

    @property
    def tells_columns(self) -> bool:
        """Whether the user says which column holds what."""
        return self != Options(style_column=self.style_column) or bool(self.style_column)

    def columns(self, header: Sequence[str], where: str, what: str = "column") -> Columns:
        """Return the columns of a header; UserError as ``choose_columns`` says."""
        if self.asks or (self.caption_column is None and has_questions(header)):
            return choose_question_columns(
                header,
                where,
                self.image_column,
                self.question_column,
                self.answers_column,
                self.style_column,
                what=what,
            )
        return choose_columns(
            header, where, self.image_column, self.caption_column, self.style_column, what=what
        )


def csv_rows(file: Path, text: str, delimiter: str, options: Options) -> Iterator[Row]:
    """Yield the rows of a CSV; UserError with file:line for a row or a header that does not fit."""
    columns: Columns | None = None
    header: list[str] = []
    for line, cells in csv_cells(file, text, delimiter):
        if columns is None:
            header = [name.strip() for name in cells]
            columns = _header_columns(header, f"{file}:{line}", options)
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{file}:{line}: {len(cells)} cells where the header names {len(header)}; "
                f"a caption that holds {delimiter!r} needs double quotes around it"
            )
        yield _row(f":{line}", dict(zip(header, cells, strict=True)), columns, file)


def csv_cells(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the cells of each row of a CSV that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if any(map(str.strip, cells)):
                yield line, cells
    except csv.Error as error:
        raise UserError(
            f"{file}:{start}: {error}; a cell that starts with a double quote must end with one, "
            "and quotes inside it are doubled"
        ) from None


def _row(place: str, row: Mapping[str, str], columns: Columns, file: Path) -> Row:
    name = row[columns.image]
    require_name(name, f"{file}{place}")
    cells = [fields.cell(row[column]) for column in columns.captions]
    split = fields.cell(row[columns.split]) if columns.split else None
    image_id = fields.cell(row[columns.image_id]) if columns.image_id else None
    found = Row(place, fields.cell(name), cells, split, image_id)
    if columns.question:
        named = zip(columns.captions, cells, strict=True)
        found.captions = [
            one for column, cell in named for one in answers_of(cell, f"{file}{place}", column)
        ]
        number = fields.cell(row[columns.question_id]) if columns.question_id else ""
        asked = question(fields.cell(row[columns.question]), number or None, f"{file}{place}")
        found.prompts = [asked] * len(found.captions)
    if columns.style:
        style = style_of(row[columns.style], f"{file}{place}", columns.style)
        found.prompts = styled(found.prompts, len(found.captions), style)
    return found


def require_name(name: str, where: str) -> None:
    """Check a cell that names a file; UserError with the place where it holds a zero byte."""
    if "\0" in name:
        raise UserError(f"{where}: the image's name holds a zero byte: {name[:60]!r}")


def _header_columns(header: list[str], where: str, options: Options) -> Columns:
    if len(set(header)) != len(header):
        raise UserError(f"{where}: the header names a column twice: {', '.join(header)}")
    other = next((mark for mark in (",", ";", "|", "\t") if mark in header[0]), None)
    if len(header) == 1 and other:
        name = "tab" if other == "\t" else other
        raise UserError(
            f"{where}: the header {header[0]!r} has another delimiter: "
            f"set data.source.delimiter='{name}'"
        )
    return options.columns(header, where)


def is_header(line: str, sign: str, options: Options) -> bool:
    """Return whether a line names the columns of a table."""
    cells = [cell.strip().strip('"') for cell in line.split(sign)]
    given = options.image_column
    if given is not None and not given.isdecimal():
        return given in cells
    return has_usual_columns(cells)


def short_rows(file: Path, lines: Sequence[str], sign: str, options: Options) -> Iterator[Row]:
    """Yield the rows of a table of names and captions whose captions may hold the sign bare.

    The first sign of a line parts both; a line that is two cells by the rules of CSV is those. A
    header is passed over. IMAGE.jpg#3 is IMAGE.jpg.
    """
    first = next(number for number, line in enumerate(lines) if line.strip())
    start = first + is_header(lines[first], sign, options)
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        name, caption = _two_cells(line.strip() if sign == " " else line, sign)
        if caption is None:
            shown = {"\t": "tab", " ": "blank"}.get(sign, repr(sign))
            raise UserError(f"{where}: no {shown} between image and caption: {line[:60]!r}")
        require_name(name, where)
        match = FLICKR_NUMBER.fullmatch(name.strip())
        yield Row(f":{number}", match[1] if match else name, [fields.cell(caption)])


def _two_cells(line: str, sign: str) -> tuple[str, str | None]:
    if '"' in line and sign != " ":
        try:
            cells = next(csv.reader([line], delimiter=sign, strict=True))
        except (csv.Error, StopIteration):  # a quote that is part of the caption
            cells = []
        if len(cells) == 2:
            return cells[0], cells[1]
    name, found, caption = line.partition(sign)
    return name, caption if found else None


def numbered_rows(
    file: Path, rows: Iterable[tuple[int, list[str]]], options: Options
) -> Iterator[Row]:
    """Yield the rows of a table without a header, whose columns are told by their numbers from 1.

    Raises:
        UserError: if a number is missing, or larger than a row.
    """
    image = _number(options.image_column, "image_column")
    given = options.answers_column if options.asks else options.caption_column
    key = "answers_column" if options.asks else "caption_column"
    names = given.split(",") if isinstance(given, str) else list(given or ())
    captions = [_number(str(name), key) for name in names or [""]]
    asked = _number(options.question_column, "question_column") if options.asks else 0
    styles = _number(options.style_column, "style_column") if options.style_column else 0
    for line, cells in rows:
        most = max(image, asked, styles, *captions)
        if most > len(cells):
            raise UserError(f"{file}:{line}: {len(cells)} cells, and no column {most}")
        where = f"{file}:{line}"
        require_name(cells[image - 1], where)
        texts = [fields.cell(cells[caption - 1]) for caption in captions]
        row = Row(f":{line}", cells[image - 1], texts)
        if asked:
            row.captions = [one for text in texts for one in answers_of(text, where, "answers")]
            prompt = question(fields.cell(cells[asked - 1]), None, where)
            row.prompts = [prompt] * len(row.captions)
        if styles:
            style = style_of(cells[styles - 1], where, "style")
            row.prompts = styled(row.prompts, len(row.captions), style)
        yield row


def _number(given: str | None, key: str) -> int:
    text = str(given or "").strip()
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 6 and int(text)):
        raise UserError(
            f"data.source.{key}={given}: the table has no header, so its columns are told by their "
            "number: data.source.image_column=1 data.source.caption_column=2"
        )
    return int(text)


def of_split(rows: Iterable[Row], split: str) -> Iterator[Row]:
    """Yield rows that are all of one split."""
    for row in rows:
        row.split = split
        yield row
