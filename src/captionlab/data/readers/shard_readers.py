"""Data sets of Hugging Face as hubs serve them (Parquet) and as `datasets` saves them (Arrow)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.images.packed import PackedImage
from captionlab.data.images.shards import ShardImage
from captionlab.data.readers.columns import Columns, Names, choose_columns
from captionlab.data.readers.division import divided
from captionlab.data.readers.fields import file_name, identifier, text
from captionlab.data.readers.files import data_root, listed
from captionlab.data.readers.listing import list_files
from captionlab.data.readers.matching import Match, match_names
from captionlab.data.readers.shard_files import ParquetShard, ShardFile, saved_files
from captionlab.data.readers.split_folders import SPLITS, split_of_file, split_of_folder
from captionlab.data.readers.styles import require_few, style_of, styled
from captionlab.data.readers.tables import split_name
from captionlab.data.readers.texts import captions_of
from captionlab.data.records import Entry, Reader
from captionlab.text.prompts import NO_PROMPT, Prompt


class _Picture:
    """What the rows about one picture say together."""

    __slots__ = ("captions", "image", "image_id", "prompts", "split", "where")

    def __init__(
        self, image: PackedImage | str, image_id: int | str, split: str | None, where: str
    ) -> None:
        self.image, self.image_id, self.split, self.where = image, image_id, split, where
        self.captions: list[str] = []
        self.prompts: list[Prompt] = []


class _ShardReader(Reader):
    """Joins rows of files with pictures inside, or with their names, to images."""

    def _read(
        self,
        files: Sequence[ShardFile],
        *,
        root: Path,
        form: str,
        image_column: str | None,
        caption_column: Names,
        style_column: str | None,
        language: str,
    ) -> None:
        pictures: dict[tuple[object, ...], _Picture] = {}
        styles: dict[str, str] = {}
        for file in files:
            columns = _columns(file, image_column, caption_column, style_column)
            _join(pictures, file, columns, styles)
        rows = list(pictures.values())
        if not rows:
            raise UserError(f"{files[0].file} has no rows")
        _tell_ids_apart(rows)
        division = _divide(rows)
        names = {one.image: one.where for one in rows if isinstance(one.image, str)}
        match = match_names(names, files[0].file, root) if names else None
        entries = [
            Entry(
                one.split or "",
                one.image_id,
                _image(one, match),
                one.captions,
                one.where,
                one.prompts if any(one.prompts) else (),
            )
            for one in rows
        ]
        Reader.__init__(self, entries, language=language, origin=root)
        inside = "pictures inside" if match is None else match.how or "pictures beside"
        count = f"{len(files):,} files" if len(files) > 1 else "1 file"
        self.announce(f"{form}, {count} ({columns}; {inside})", division)


class ParquetCaptions(_ShardReader):
    """Parquet files with the pictures inside (`{bytes, path}`), as hubs serve data sets.

    The pictures are read in place. Captions are text, a list, or several columns (caption_0 ...).
    Splits are those of the file names (train-00000-of-00002.parquet) or folders, or of a column
    `split`; where there is `train` alone the pictures are divided 80/10/10 by a hash of their names.
    A column of file names in place of pictures is matched with the pictures below the root. A column
    `style` is read as of a CSV.
    """

    LAYOUT: ClassVar[str] = (
        "ROOT/[data/]train-00000-of-00001.parquet and so on: columns image ({bytes, path}) and caption"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        image_column: str | None = None,
        caption_column: Names = None,
        style_column: str | None = None,
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        names = [name for name in list_files(folder).files if name.lower().endswith(".parquet")]
        if not names:
            raise UserError(
                f"data.root={root} holds no .parquet file; expected layout: {self.LAYOUT}"
            )
        _require_one_set(names, folder)
        self._read(
            [
                ParquetShard(folder / name, split_of_file(name) or split_of_folder(name))
                for name in names
            ],
            root=folder,
            form="Parquet",
            image_column=image_column,
            caption_column=caption_column,
            style_column=style_column,
            language=language,
        )


class SavedDataset(_ShardReader):
    """A folder of `datasets.save_to_disk`: of a Dataset, or a DatasetDict with its splits."""

    LAYOUT: ClassVar[str] = (
        "ROOT/dataset_dict.json and ROOT/train/state.json with its .arrow files, or ROOT/state.json"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        image_column: str | None = None,
        caption_column: Names = None,
        style_column: str | None = None,
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        self._read(
            saved_files(folder, self.LAYOUT),
            root=folder,
            form="saved by `datasets`",
            image_column=image_column,
            caption_column=caption_column,
            style_column=style_column,
            language=language,
        )


def _require_one_set(names: Sequence[str], root: Path) -> None:
    """Refuse shards of several data sets, such as the configurations of one on a hub."""
    folders = sorted(
        {
            "/".join(
                part for part in PurePosixPath(name).parent.parts if part.lower() not in SPLITS
            )
            for name in names
        }
    )
    if len(folders) > 1:
        raise UserError(
            f"data.root={root} holds Parquet files in several folders "
            f"({listed([folder or '.' for folder in folders])}): name one of them, "
            f"data.root={root / folders[-1]}"
        )


def _columns(
    file: ShardFile, image_column: str | None, caption_column: Names, style_column: str | None
) -> Columns:
    image = image_column
    if image is None and len(file.pictures) == 1:
        image = file.pictures[0]
    if image is None and len(file.pictures) > 1 and "image" not in file.pictures:
        raise UserError(
            f"{file.file}: both {file.pictures[0]!r} and {file.pictures[1]!r} hold pictures: set "
            f"data.source.image_column={file.pictures[0]}"
        )
    return choose_columns(file.columns, str(file.file), image, caption_column, style_column)


def _join(
    pictures: dict[tuple[object, ...], _Picture],
    file: ShardFile,
    columns: Columns,
    styles: dict[str, str],
) -> None:
    """Add a file's rows to the pictures, those of the same picture to one.

    ``styles``: where each style stands first.
    """
    wanted = [columns.image, *columns.captions, columns.split, columns.image_id, columns.style]
    named = [name for name in wanted if name is not None]
    inside = columns.image in file.pictures
    if inside and not file.has_paths[columns.image]:
        named.remove(columns.image)
    rows = [(place, row) for place, row in file.objects(named) if isinstance(row, dict)]
    shard = file.shard(columns.image, len(rows)) if inside else None
    for number, (place, row) in enumerate(rows):
        where = f"{file.file}{place}"
        name = _name(row.get(columns.image), where, columns.image, required=not inside)
        picture_id = row.get(columns.image_id) if columns.image_id else None
        image: PackedImage | str = name
        if shard is not None:
            image = ShardImage(shard, number, name or f"{file.file.name}#{number}")
        split = row.get(columns.split) if columns.split else None
        split = split_name(text(split, where, "split")) if split is not None else file.split
        key = _key(picture_id, name, image, pictures)
        if key not in pictures:
            name = image if isinstance(image, str) else image.name
            image_id = name if picture_id is None else identifier(picture_id, where, "image_id")
            pictures[key] = _Picture(image, image_id, split, where)
        if pictures[key].split != split:
            raise UserError(
                f"{where}: {pictures[key].image_id!r} is of split {split!r} here, and of "
                f"{pictures[key].split!r} at {pictures[key].where}: leave it in one, or what is scored "
                "was trained on"
            )
        captions = _captions(row, columns, where)
        style = style_of(row.get(columns.style), where, columns.style) if columns.style else ""
        if style and styles.setdefault(style, where) == where:
            require_few(styles, file.file)
        pictures[key].captions += captions
        pictures[key].prompts += styled([NO_PROMPT] * len(captions), len(captions), style)


def _captions(row: Mapping[str, object], columns: Columns, where: str) -> list[str]:
    values = [(name, row[name]) for name in columns.captions]
    return [
        one
        for name, value in values
        if value is not None
        for one in captions_of(value, where, name)
    ]


def _image(picture: _Picture, match: Match | None) -> PackedImage | Path:
    if isinstance(picture.image, PackedImage):
        return picture.image
    assert match is not None
    return match.paths[picture.image]


def _key(
    picture_id: object,
    name: str,
    image: PackedImage | str,
    pictures: dict[tuple[object, ...], _Picture],
) -> tuple[object, ...]:
    """Return what tells a row's picture from others: its id, or its name if the content is equal."""
    if picture_id is not None:
        return ("id", repr(picture_id))
    if isinstance(image, str):
        return ("name", image)
    if not name:
        return ("row", str(image))
    first = pictures.get(("name", name))
    if first is None or (isinstance(first.image, PackedImage) and _equal(first.image, image)):
        return ("name", name)
    return ("content", name, hashlib.sha256(image.read()).digest())


def _equal(one: PackedImage, other: PackedImage) -> bool:
    return one.read() == other.read()


def _name(value: object, where: str, column: str, *, required: bool) -> str:
    path = value.get("path") if isinstance(value, dict) else value
    if path is None and not required:
        return ""
    if isinstance(path, int) and not isinstance(path, bool):
        return str(path)
    check = file_name if required else text
    return check(path, where, column).strip().replace("\\", "/")


def _tell_ids_apart(rows: Sequence[_Picture]) -> None:
    """Give pictures that have a name in common ids of their own."""
    seen: dict[int | str, int] = {}
    for one in rows:
        seen[one.image_id] = seen.get(one.image_id, 0) + 1
        if seen[one.image_id] > 1 and isinstance(one.image_id, str):
            one.image_id = f"{one.image_id}#{seen[one.image_id]}"


def _divide(rows: Sequence[_Picture]) -> str:
    """Divide rows without a split, or all in train; return in words how."""
    splits = {one.split for one in rows}
    if None in splits and not splits <= {None, "train"}:
        first = next(one for one in rows if one.split is None)
        raise UserError(
            f"{first.where}: no split here, while others are of one ({listed(sorted(filter(None, splits)))})"
        )
    if splits <= {None, "train"}:
        for one in rows:
            one.split = None
    # train first: the ids 1 and "1" are one name, and that of a picture of test is held out
    ordered = sorted(rows, key=lambda one: one.split != "train")
    split_of, division = divided({str(one.image_id): one.split for one in ordered})
    for one in rows:
        chosen = split_of[str(one.image_id)]
        if one.split is None or (one.split == "train" and chosen == "val"):
            one.split = chosen
    return division
