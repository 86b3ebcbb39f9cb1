"""The rows of captions that are JSON objects: lines, arrays, the rows of Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.data.readers.columns import Columns, require_style_column
from captionlab.data.readers.json_files import read_json_line
from captionlab.data.readers.styles import style_of, styled
from captionlab.data.readers.table_rows import Options, Row
from captionlab.data.readers.texts import captions_of, question
from captionlab.text.prompts import Prompt


def jsonl_items(file: Path, lines: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield place and value of each line that is not empty; UserError for one that is no JSON."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f":{number}", read_json_line(file, lines, number)


def array_items(items: Sequence[object], name: str = "") -> Iterator[tuple[str, object]]:
    """Yield place and value of each item of an array that stands under ``name``, if it has one."""
    return ((f": {name}[{index}]", item) for index, item in enumerate(items))


def object_rows(file: Path, items: Iterable[tuple[str, object]], options: Options) -> Iterator[Row]:
    """Yield the rows of objects; UserError with the place of one that does not fit.

    A caption is text, a list of texts, or a list of objects with the text (Karpathy's ``raw``). A key
    of styles that the user names may be absent of some objects, and not of all.
    """
    known: dict[tuple[str, ...], Columns] = {}
    wanted = options.style_column
    keys: tuple[str, ...] = ()
    seen = not wanted
    for place, item in items:
        where = f"{file}{place}"
        if not isinstance(item, dict):
            raise UserError(
                f"{where}: expected an object with image and caption, not {fields.named(item)[:60]}"
            )
        seen = seen or wanted in item
        # what is null is absent: a column may hold a value in some rows alone
        keys = tuple(str(key) for key, value in item.items() if value is not None)
        if keys not in known:
            _require_no_null(item, where, options)
            known[keys] = options.columns(keys, where, "key")
        yield object_row(file, place, item, known[keys])
    if not seen:
        require_style_column(str(wanted), keys, str(file))


def object_row(file: Path, place: str, item: Mapping[str, Any], columns: Columns) -> Row:
    """Return the row that an object is; UserError with its place where it does not fit."""
    where = f"{file}{place}"
    split = item[columns.split] if columns.split else None
    captions = [one for key in columns.captions for one in captions_of(item[key], where, key)]
    prompts: Sequence[Prompt] = ()
    if columns.question:
        text = fields.text(item[columns.question], where, columns.question)
        number = item[columns.question_id] if columns.question_id else None
        prompts = [question(text, number, where)] * len(captions)
    if columns.style:
        style = style_of(item[columns.style], where, columns.style)
        prompts = styled(prompts, len(captions), style)
    return Row(
        place,
        _image_name(item[columns.image], where, columns.image),
        captions,
        None if split is None else fields.text(split, where, "split"),
        item[columns.image_id] if columns.image_id else None,
        prompts,
    )


def _require_no_null(item: Mapping[str, object], where: str, options: Options) -> None:
    for key in (options.image_column or "image", options.caption_column or "caption"):
        if isinstance(key, str) and key in item and item[key] is None and "captions" not in item:
            has = ", ".join(map(str, item))
            raise UserError(f"{where}: {key} is null (keys: {has[:200]})")


def _image_name(value: object, where: str, key: str) -> str:
    if isinstance(value, dict) and isinstance(value.get("path"), str):  # an image of `datasets`
        value = value["path"]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(fields.identifier(value, where, key))
    return fields.file_name(value, where, key)
