"""Captions of your own: any CSV and any JSON Lines file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers.fields import identifier
from captionlab.data.readers.files import data_root, nearest, read_lines, read_text
from captionlab.data.readers.table_rows import Row, csv_rows, jsonl_rows
from captionlab.data.records import Entry, Reader, hash_split

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
DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|"}


@dataclass(slots=True)
class _Image:
    line: int
    image_id: int | str
    split: str | None
    captions: list[str] = field(default_factory=list)


class _TableReader(Reader):
    """Joins the rows of a table to images; rows of the same image join their captions."""

    LAYOUT: ClassVar[str]

    def __init__(
        self, rows: Iterator[Row], *, file: Path, root: Path | None, language: str
    ) -> None:
        images = _by_image(rows, file)
        if not images:
            raise UserError(f"{file} has no rows below its header; expected: {self.LAYOUT}")
        if all(image.split is None for image in images.values()):
            split_of = hash_split(images)
            logger.info("%s names no split: 80/10/10 by a hash of the image names", file)
        else:
            split_of = {name: image.split or "" for name, image in images.items()}
        base = _base_folder(list(images), file, root)
        entries = [
            Entry(
                split_of[name], image.image_id, base / name, image.captions, f"{file}:{image.line}"
            )
            for name, image in images.items()
        ]
        super().__init__(entries, language=language, origin=file)


class CsvCaptions(_TableReader):
    """A CSV with a header: `image`, `caption` (one a row), and if you like `split` and `image_id`.

    Image paths are relative to `root` or to the file's folder, or all absolute. A caption that
    holds the delimiter or a line break stands in double quotes. Without a split column the images
    are divided 80/10/10 by a hash of their names. `delimiter` is one character or "tab".
    """

    LAYOUT = "a CSV with the header image,caption[,split][,image_id], image paths relative to ROOT"

    def __init__(
        self,
        *,
        file: str = "captions.csv",
        root: str | None = None,
        delimiter: str = ",",
        image_column: str = "image",
        caption_column: str = "caption",
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = _table_file(file, root, self.LAYOUT)
        comma = DELIMITERS.get(delimiter, delimiter)
        if len(comma) != 1 or comma in '"\r\n':
            raise UserError(
                f"data.source.delimiter={delimiter!r} is not one character (or 'tab') "
                "that can part cells"
            )
        rows = csv_rows(path, read_text(path, encoding), comma, image_column, caption_column)
        super().__init__(rows, file=path, root=folder, language=language)


class JsonlCaptions(_TableReader):
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
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = _table_file(file, root, self.LAYOUT)
        rows = jsonl_rows(path, read_lines(path, encoding))
        super().__init__(rows, file=path, root=folder, language=language)


def _by_image(rows: Iterator[Row], file: Path) -> dict[str, _Image]:
    images: dict[str, _Image] = {}
    owner: dict[int | str, str] = {}
    absolute: dict[bool, int] = {}
    for row in rows:
        where = f"{file}:{row.line}"
        # a file written on Windows
        name = row.image.strip().replace("\\", "/")
        if not name:
            raise UserError(f"{where}: the image is empty")
        absolute.setdefault(Path(name).is_absolute(), row.line)
        if len(absolute) == 2:
            raise UserError(
                f"{file} mixes absolute image paths (line {absolute[True]}) and relative ones "
                f"(line {absolute[False]}): use one kind"
            )
        split = _split_name(row.split)
        image_id = _image_id(row.image_id, name, where)
        known = images.get(name)
        if known is None:
            if owner.setdefault(image_id, name) != name:
                raise UserError(
                    f"{where}: image_id {image_id!r} belongs to {owner[image_id]} already"
                )
            known = images[name] = _Image(row.line, image_id, split)
        if (known.split, known.image_id) != (split, image_id):
            what = "split" if known.split != split else "image_id"
            now, before = getattr(row, what), getattr(known, what)
            raise UserError(
                f"{where}: {name} has {what} {now!r} here, but {before!r} in line {known.line}"
            )
        known.captions.extend(row.captions)
    unsplit = [image for image in images.values() if image.split is None]
    if unsplit and len(unsplit) < len(images):
        raise UserError(
            f"{file}:{unsplit[0].line}: no split here, while other rows name one "
            f"({len(unsplit):,} images without)"
        )
    return images


def _split_name(split: str | None) -> str | None:
    name = str(split).strip().lower() if split is not None else ""
    return SPLIT_NAMES.get(name, name) or None


def _image_id(value: object, name: str, where: str) -> int | str:
    if value is None or value == "":
        return name
    # COCO's result format has numbers; 007 stays a text, or it would lose its zeros
    text = str(identifier(value, where, "image_id")).strip()
    is_number = text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
    return int(text) if is_number and len(text) <= MOST_DIGITS else text


def _table_file(file: str, root: str | None, layout: str) -> tuple[Path, Path | None]:
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


def _base_folder(names: list[str], file: Path, root: Path | None) -> Path:
    """Return the folder that image paths start from: the one that holds more of the first 50."""
    folders = [folder for folder in (root, file.parent) if folder is not None]
    # os.path's: a name that no file system takes exists nowhere, while Path's raises
    return max(folders, key=lambda folder: sum(os.path.exists(folder / n) for n in names[:50]))
