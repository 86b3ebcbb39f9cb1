"""Which reader a table of captions needs, seen by the first of its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from captionlab.core.errors import UserError
from captionlab.data.readers.columns import Names
from captionlab.data.readers.conversations import (
    Conversations,
    conversation_rows,
    is_conversation,
)
from captionlab.data.readers.files import data_root, read_lines
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.json_tables import JsonCaptions, json_rows
from captionlab.data.readers.object_rows import array_items, jsonl_items, object_rows
from captionlab.data.readers.plain_tables import TableCaptions, table_rows
from captionlab.data.readers.table_rows import Options, Row, of_split
from captionlab.data.readers.tables import JsonlCaptions, TableReader, table_file
from captionlab.data.records import CaptionSource

FORMS: Mapping[str, tuple[str, str, Callable[..., CaptionSource]]] = {
    "table": ("a table", "table", TableCaptions),
    "jsonl": ("JSON Lines", "jsonl", JsonlCaptions),
    "json": ("JSON", "json", JsonCaptions),
    "conversations": ("conversations", "conversations", Conversations),
}
FIRST_ROWS = 5


@dataclass(frozen=True)
class Reading:
    """One way to read a folder: in words, the override that chooses it, and what does it."""

    form: str
    override: str
    read: Callable[[], CaptionSource]


class TableStart(NamedTuple):
    """How a table begins: which of FORMS it is, and its first rows."""

    kind: str
    rows: list[Row]


def table_of(
    root: Path,
    name: str,
    columns: Mapping[str, object],
    more: Mapping[str, object],
    kind: str | None = None,
) -> Reading:
    """Return how a table is read; ``kind`` is which of FORMS it is, where that is known.

    Raises:
        UserError: if it is not there, or no JSON though it is named so.
    """
    path, _ = table_file(name, str(root), "a table of captions")
    if kind is None:
        kind, _ = rows_of(path, Options(), str(more["encoding"]))
    words, _, reader = FORMS[kind]
    options = {} if kind == "conversations" else columns
    read = partial(reader, file=str(path), **options, **more)
    return Reading(f"{words} {name}", f"data.source.file={name}", read)


def first_rows(
    root: Path, name: str, columns: Mapping[str, object], encoding: str, refused: list[str]
) -> TableStart | None:
    """Return how a file begins if that is images and captions; if not, add why."""
    options = Options(**columns)  # type: ignore[arg-type]
    try:
        kind, rows = rows_of(root / name, options, encoding)
        first = list(islice(rows(), FIRST_ROWS))
    except UserError as error:
        refused.append(str(error))
        return None
    texts = "".join(caption for row in first for caption in row.captions)
    # a list of images with the numbers of their classes is no table of captions
    is_text = any(map(str.isalpha, texts)) or any(
        prompt.question for row in first for prompt in row.prompts
    )
    is_table = first and is_text and all(row.image.strip() for row in first)
    return TableStart(kind, first) if is_table else None


def rows_of(path: Path, options: Options, encoding: str) -> tuple[str, Callable[[], Iterator[Row]]]:
    """Return which of FORMS a file is, and what gives its rows.

    Raises:
        UserError: if it is named as JSON and is none.
    """
    if path.suffix.lower() == ".jsonl":
        lines = read_lines(path, encoding)
        _, item = next(jsonl_items(path, lines))
        if is_conversation(item):
            return "conversations", lambda: conversation_rows(path, jsonl_items(path, lines))
        return "jsonl", lambda: object_rows(path, jsonl_items(path, lines), options)
    if path.suffix.lower() == ".json":
        data = read_json(path, encoding)
        if isinstance(data, list) and data and is_conversation(data[0]):
            return "conversations", lambda: conversation_rows(path, array_items(data))
        return "json", lambda: json_rows(path, data, options)[0]
    return "table", lambda: table_rows(path, encoding, None, options)[0]


class SplitTables(TableReader):
    """A table for each split: train.csv, val.csv, test.csv, of any form that ``rows_of`` knows."""

    LAYOUT = "ROOT/train.csv, ROOT/val.csv and so on"

    def __init__(
        self,
        *,
        root: str,
        files: Mapping[str, str],
        image_column: str | None = None,
        caption_column: Names = None,
        question_column: str | None = None,
        answers_column: Names = None,
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        options = Options(
            image_column, caption_column, question_column, answers_column, style_column
        )
        rows = {
            folder / name: of_split(rows_of(folder / name, options, encoding)[1](), split)
            for name, split in files.items()
        }
        form = f"tables {', '.join(files)}"
        super().__init__(rows, root=folder, language=language, form=form)
