"""Captions in one JSON file: an array of objects, objects by name, by split, columns, COCO's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.readers.columns import Names, names_style, require_style_column
from captionlab.data.readers.fields import named
from captionlab.data.readers.files import listed
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.object_rows import array_items, object_rows
from captionlab.data.readers.table_rows import Options, Row, of_split, require_name
from captionlab.data.readers.tables import SPLIT_NAMES, TableReader, table_file
from captionlab.data.readers.texts import captions_of
from captionlab.data.records import STANDARD_SPLITS

Item = tuple[str, object]
SPLITS = frozenset((*STANDARD_SPLITS, *SPLIT_NAMES))


class JsonCaptions(TableReader):
    """One JSON file of captions, in any of the forms that people write.

    An array of objects with image and captions; an object that gives each image's captions by its
    name; one that holds such an array, or one for each split; columns as data frames write them;
    COCO's form of an image folder of one's own, without the list of images too (names are numbers).
    Keys and names are found as for a CSV.
    """

    LAYOUT = (
        'ROOT/captions.json: [{"image": "a.jpg", "captions": ["...", "..."]}] or '
        '{"a.jpg": ["...", "..."]}, image paths relative to ROOT'
    )

    def __init__(
        self,
        *,
        file: str = "captions.json",
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
        data = read_json(path, encoding)
        options = Options(
            image_column, caption_column, question_column, answers_column, style_column
        )
        rows, form = json_rows(path, data, options)
        form = f"JSON {path.name}, {form}"
        super().__init__({path: rows}, root=folder, language=language, form=form)


def json_rows(file: Path, data: object, options: Options) -> tuple[Iterator[Row], str]:
    """Return the rows of a parsed file and what the log calls its form.

    Raises:
        UserError: if it is none of the forms.
    """
    if isinstance(data, list):
        return object_rows(file, array_items(data), options), "an array of objects"
    if not isinstance(data, dict):
        raise UserError(f"{file} holds {named(data)[:60]}, and no captions of images")
    if _is_objects(data.get("annotations")) and not _has_captions_in_images(data):
        return _coco_rows(file, data, options)
    if data and set(map(str.lower, data)) <= SPLITS and all(map(_is_objects, data.values())):
        return _rows_by_split(file, data, options), "arrays of objects by split"
    arrays = [key for key, value in data.items() if _is_objects(value)]
    if len(arrays) == 1:
        items = array_items(data[arrays[0]], f"{arrays[0]}")
        return object_rows(file, items, options), f"the objects of {arrays[0]!r}"
    if len(arrays) > 1:
        raise UserError(
            f"{file} holds several arrays of objects ({listed(arrays)}): write the one with the "
            "captions into a file of its own"
        )
    columns = _columns(data)
    if columns is not None:
        return object_rows(file, columns, options), "columns"
    return _named_rows(file, data, options), "captions by image name"


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _has_captions_in_images(data: Mapping[str, object]) -> bool:
    images = data.get("images")
    return isinstance(images, list) and _is_objects(images) and "sentences" in images[0]


def _rows_by_split(file: Path, data: Mapping[str, object], options: Options) -> Iterator[Row]:
    for split, items in data.items():
        assert isinstance(items, list)
        yield from of_split(object_rows(file, array_items(items, split), options), split)


def _coco_rows(
    file: Path, data: Mapping[str, object], options: Options
) -> tuple[Iterator[Row], str]:
    """Return the rows of annotations; the images' names by their list, or by their number alone."""
    images, annotations = data.get("images"), data["annotations"]
    assert isinstance(annotations, list)
    names: dict[object, str] = {}
    for index, image in enumerate(images if isinstance(images, list) else ()):
        where = f"{file}: images[{index}]"
        name = image.get("file_name") if isinstance(image, dict) else None
        image_id = image.get("id") if isinstance(image, dict) else None
        if not isinstance(name, str) or not isinstance(image_id, int | str):
            raise UserError(f"{where} has no 'id' and 'file_name'")
        if names.setdefault(image_id, name) != name:
            raise UserError(f"{where}: id {image_id} is {names[image_id]} already")
    form = "COCO annotations" if names else "COCO annotations without the list of images"
    options = replace(options, image_column=options.image_column or "image_id")
    return _renamed(
        file, object_rows(file, array_items(annotations, "annotations"), options), names
    ), form


def _renamed(file: Path, rows: Iterator[Row], names: Mapping[object, str]) -> Iterator[Row]:
    by_text = {str(image_id): name for image_id, name in names.items()}
    for row in rows:
        if names and row.image not in by_text:
            raise UserError(
                f"{file}{row.place} belongs to image {row.image!r}, which is none of its "
                f"{len(names):,} images"
            )
        row.image_id = (
            int(row.image) if row.image.isdecimal() and len(row.image) < 19 else row.image
        )
        row.image = by_text.get(row.image, row.image)
        yield row


def _columns(data: Mapping[str, object]) -> Iterator[Item] | None:
    """Return the objects of columns, lists of one length or objects of the same keys; else None."""
    values = list(data.values())
    if len(values) < 2:
        return None
    if all(isinstance(value, list) for value in values):
        columns = {key: dict(enumerate(v)) for key, v in data.items() if isinstance(v, list)}
    elif all(isinstance(value, dict) for value in values):
        columns = {key: v for key, v in data.items() if isinstance(v, dict)}
    else:
        return None
    indices = list(next(iter(columns.values())))
    names = [key for key in data if key.lower() in ("image", "caption", "captions", "text")]
    if not names or any(list(column) != indices for column in columns.values()):
        return None
    return (
        (f": row {index}", {key: column[index] for key, column in columns.items()})
        for index in indices
    )


def _named_rows(file: Path, data: Mapping[str, object], options: Options) -> Iterator[Row]:
    if not data:
        raise UserError(f"{file} holds an empty object, and no captions of images")
    wanted = options.style_column
    objects = [value for value in data.values() if isinstance(value, dict)]
    if wanted and not any(wanted in one for one in objects):
        require_style_column(wanted, [str(key) for one in objects[:1] for key in one], str(file))
    for name, value in data.items():
        where = f"{file}: {name[:80]!r}"
        require_name(name, where)
        place = f": {name[:80]!r}"
        texts = {"raw", "caption", "text", "sentence"}
        if isinstance(value, dict) and (names_style(value, wanted) or not texts & set(value)):
            item = {"image": name, **value}
            # which has the key itself, or leaves it to another object
            own = replace(options, style_column="") if wanted and wanted not in value else options
            yield from object_rows(file, [(place, item)], own)
        elif isinstance(value, str | list | dict):
            yield Row(place, name, captions_of(value, where, "captions"))
        else:
            raise UserError(
                f"{where} must give an image's captions, text or a list, not {named(value)}"
            )
