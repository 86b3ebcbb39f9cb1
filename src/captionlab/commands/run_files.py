"""The files that a run leaves, read back as a stranger's: what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from captionlab.data.fields import identifier, text
from captionlab.errors import UserError


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
    found: dict[int | str, list[str]] = {}
    for image_id, caption in _pairs(annotations, path):
        found.setdefault(image_id, []).append(caption)
    return found


def read_results(path: Path) -> dict[str, Any]:
    """Return what a results.json holds; nothing where there is no file.

    Raises:
        UserError: if it holds something else than an object.
    """
    content = _json(path, {})
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no scores but a {type(content).__name__}")
    return content


def _json(path: Path, missing: Any) -> Any:
    if not path.exists():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {str(error)[:200]}") from None


def _pairs(entries: Any, path: Path) -> list[tuple[int | str, str]]:
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
