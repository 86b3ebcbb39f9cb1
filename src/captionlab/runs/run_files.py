"""The files that a run leaves, read back as a stranger's: what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import yaml

from captionlab.core.errors import UserError, first_line
from captionlab.core.files import read_json
from captionlab.data.readers.fields import identifier, text

# the parser written in C where there is one: a sweep has hundreds of these files
_Loader: object = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_captions(path: Path) -> dict[int | str, str]:
    """Return the generated captions of a captions.json by image; none where there is no file.

    Raises:
        UserError: if the file is no list of image_id and caption.
    """
    return dict(_pairs(_json(path, []), path))


def read_references(path: Path) -> dict[int | str, list[str]]:
    """Return the captions of a references.json, in COCO's form, by image; none where there is none.

    Raises:
        UserError: if the file holds no annotations of image_id and caption.
    """
    content = _json(path, {"annotations": []})
    annotations = content.get("annotations") if isinstance(content, dict) else None
    references: dict[int | str, list[str]] = {}
    for image_id, caption in _pairs(annotations, path):
        references.setdefault(image_id, []).append(caption)
    return references


def read_results(path: Path) -> dict[str, object]:
    """Return what a results.json holds; nothing where there is no file.

    Raises:
        UserError: if it holds something else than an object.
    """
    content = _json(path, {})
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no scores but a {type(content).__name__}")
    return content


def read_yaml(path: Path) -> object:
    """Return what a YAML file holds: plain values, none of which is built.

    Raises:
        UserError: if it is no YAML in UTF-8, or is nested too deeply to be read.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is no YAML: {first_line(error)}") from error


def _json(path: Path, missing: object) -> object:
    if not path.exists():
        return missing
    try:
        return read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {str(error)[:200]}") from None


def _pairs(entries: object, path: Path) -> list[tuple[int | str, str]]:
    if not isinstance(entries, list):
        raise UserError(f"{path} holds no list of image_id and caption")
    pairs = []
    for index, one in enumerate(entries):
        where = f"{path}: entry {index}"
        if not isinstance(one, dict):
            raise UserError(f"{where} is no object with image_id and caption")
        image_id = identifier(one.get("image_id"), where, "image_id")
        pairs.append((image_id, text(one.get("caption"), where, "caption")))
    return pairs
