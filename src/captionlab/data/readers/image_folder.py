"""Hugging Face's image folder: pictures, and a metadata file that names them and their captions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers.columns import Names
from captionlab.data.readers.files import data_root, read_lines, read_text
from captionlab.data.readers.listing import list_files
from captionlab.data.readers.object_rows import jsonl_items, object_rows
from captionlab.data.readers.split_folders import split_of_folder
from captionlab.data.readers.table_rows import Options, Row, csv_rows
from captionlab.data.readers.tables import TableReader

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


class ImageFolder(TableReader):
    """An image folder as `datasets` reads it: metadata.jsonl, .csv or .parquet with `file_name`.

    The metadata file lies at the root or in any folder, and names are relative to it; of a split's
    folder (train/metadata.jsonl, or names such as train/a.jpg) the pictures are that split. The
    caption's column is found by its usual names (text, caption ...), that of styles as in a CSV.
    """

    LAYOUT: ClassVar[str] = (
        "ROOT/metadata.jsonl (or .csv, .parquet; also ROOT/train/metadata.jsonl and so on) with "
        '{"file_name": "a.jpg", "text": "..."} a line, and the pictures beside it'
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        image_column: str | None = None,
        caption_column: Names = None,
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        files = metadata_files(list_files(folder).files)
        if not files:
            raise UserError(
                f"data.root={root} holds no metadata.jsonl, .csv or .parquet; "
                f"expected layout: {self.LAYOUT}"
            )
        options = Options(image_column, caption_column, style_column=style_column)
        rows = {folder / name: _rows(folder, name, encoding, options) for name in files}
        joined = [(file, row) for file, of_file in rows.items() for row in of_file]
        where = _split_folders(joined)
        by_file: dict[Path, list[Row]] = {file: [] for file in rows}
        for file, row in joined:
            by_file[file].append(row)
        form = f"image folder with {', '.join(files[:3])}{' ...' if files[3:] else ''}"
        super().__init__(
            {file: iter(of_file) for file, of_file in by_file.items()},
            root=folder,
            language=language,
            form=form + where,
        )


def metadata_files(names: list[str]) -> list[str]:
    """Return the metadata files among names below a root.

    Raises:
        UserError: if two lie in one folder.
    """
    files = [name for name in names if PurePosixPath(name).name in NAMES]
    owner: dict[PurePosixPath, str] = {}
    for name in files:
        if owner.setdefault(PurePosixPath(name).parent, name) != name:
            other = owner[PurePosixPath(name).parent]
            raise UserError(
                f"{other} and {name} both describe the pictures there: keep one of them"
            )
    return files


def _rows(root: Path, name: str, encoding: str, options: Options) -> Iterator[Row]:
    """Yield a metadata file's rows, image names relative to the root."""
    file = root / name
    column = options.image_column
    if name.endswith(".jsonl"):
        items = list(jsonl_items(file, read_lines(file, encoding)))
        keys = items[0][1] if items else None
        column = column or ("file_name" if isinstance(keys, dict) and "file_name" in keys else None)
        rows = object_rows(file, items, replace(options, image_column=column))
    elif name.endswith(".csv"):
        text = read_text(file, encoding)
        first = text.lstrip().partition("\n")[0]
        column = column or ("file_name" if "file_name" in first.split(",") else None)
        rows = csv_rows(file, text, ",", replace(options, image_column=column))
    else:
        from captionlab.data.readers.arrow_files import parquet_objects

        rows = object_rows(file, parquet_objects(file), replace(options, image_column=column))
    folder = PurePosixPath(name).parent
    for row in rows:
        row.image = str(folder / row.image.strip().replace("\\", "/"))
        yield row


def _split_folders(rows: list[tuple[Path, Row]]) -> str:
    """Give each row the split of its folder, where all have one and there are several."""
    if any(row.split for _, row in rows):
        return ""
    splits = [split_of_folder(row.image) for _, row in rows]
    if None in splits or len(set(splits)) < 2:
        return ""
    for (_, row), split in zip(rows, splits, strict=True):
        row.split = split
    return ", splits by folder"
