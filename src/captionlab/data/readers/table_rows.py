"""The rows of a table of captions: of a CSV and of JSON Lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.readers.fields import captions, cell, file_name, text
from captionlab.data.readers.json_files import read_json_line


@dataclass(slots=True)
class Row:
    """One row of a table: where it stands and what it says."""

    line: int
    image: str
    captions: list[str]
    split: str | None
    image_id: int | str | None


def csv_rows(
    file: Path, text: str, delimiter: str, image_column: str, caption_column: str
) -> Iterator[Row]:
    """Yield the rows of a CSV; UserError with file:line for a row or a header that does not fit."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(map(str.strip, cells)):
                continue
            if not header:
                header = [name.strip() for name in cells]
                _check_header(header, f"{file}:{line}", image_column, caption_column)
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{file}:{line}: {len(cells)} cells where the header names {len(header)}; "
                    f"a caption that holds {delimiter!r} needs double quotes around it"
                )
            row = dict(zip(header, map(cell, cells), strict=True))
            caption = row[caption_column] if caption_column in row else row["captions"]
            name = row[image_column]
            if "\0" in name:
                raise UserError(f"{file}:{line}: the image's name holds a zero byte: {name[:60]!r}")
            yield Row(line, name, [caption], row.get("split"), row.get("image_id"))
    except csv.Error as error:
        raise UserError(
            f"{file}:{start}: {error}; a cell that starts with a double quote must end with one, "
            "and quotes inside it are doubled"
        ) from None


def _check_header(header: list[str], where: str, image_column: str, caption_column: str) -> None:
    if len(set(header)) != len(header):
        raise UserError(f"{where}: the header names a column twice: {', '.join(header)}")
    columns = {"image_column": image_column, "caption_column": caption_column}
    for key, column in columns.items():
        if column in header or (column == "caption" and "captions" in header):
            continue
        if len(header) == 1:
            other = next((mark for mark in (",", ";", "|", "\t") if mark in header[0]), None)
            if other:
                name = "tab" if other == "\t" else other
                raise UserError(
                    f"{where}: the header {header[0]!r} has another delimiter: "
                    f"set data.source.delimiter='{name}'"
                )
        raise UserError(
            f"{where}: no column {column!r}: {did_you_mean(column, header)} "
            f"(columns: {', '.join(header)}; or set data.source.{key})"
        )


def jsonl_rows(file: Path, lines: list[str]) -> Iterator[Row]:
    """Yield the rows of a JSON Lines file; UserError with file:line for one that does not fit."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        item = read_json_line(file, lines, number)
        if not isinstance(item, dict):
            raise UserError(
                f"{where}: expected an object with image and caption, not {line[:60]!r}"
            )
        key = "captions" if item.get("captions") is not None else "caption"
        for needed in ("image", key):
            if item.get(needed) is None:
                has = ", ".join(map(str, item)) or "none"
                null = f"{needed} is null" if needed in item else f"no {needed!r}"
                raise UserError(f"{where}: {null} (keys: {has[:200]})")
        split = item.get("split")
        yield Row(
            number,
            file_name(item["image"], where, "image"),
            captions(item[key], where, key),
            None if split is None else text(split, where, "split"),
            item.get("image_id"),
        )
