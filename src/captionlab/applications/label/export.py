"""Labels as files that training reads: JSON Lines, COCO's JSON, a text beside each picture."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from captionlab.applications.label.actions import PictureState
from captionlab.applications.label.store import LabelStore
from captionlab.core.errors import UserError
from captionlab.core.files import replacing
from captionlab.data.images.files import ORIENTATION_TAG
from captionlab.data.records import hash_split

LEAST = 2  # images of a split that can be scored: CIDEr needs them
ON_ITS_SIDE = {5, 6, 7, 8}  # of EXIF
# texts that data=sidecars takes for a description of the folder
DESCRIBING = {"readme", "license", "classes"}


@dataclass(frozen=True)
class Labeled:
    """A picture that has captions: its number, its name below the folder, its captions."""

    number: int
    name: str
    captions: Sequence[str]


def labeled_pictures(store: LabelStore) -> list[Labeled]:
    """Return the pictures of the folder that have captions, in order.

    Raises:
        UserError: if none has.
    """
    states: dict[int, PictureState] = store.states()
    found = [
        Labeled(number, store.present[number], state.texts())
        for number, state in states.items()
        if state.captions
    ]
    if not found:
        raise UserError(f"{store.path} holds no caption of the {len(states):,} pictures there yet")
    return found


def write_jsonl(labeled: Sequence[Labeled], file: Path) -> dict[str, str]:
    """Write a line for each picture, as ``data=jsonl`` reads it; return the splits that it names."""
    splits = splits_of_few([one.name for one in labeled])
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as written:
        for one in labeled:
            line: dict[str, Any] = {"image": one.name, "image_id": one.number}
            if splits:
                line["split"] = splits[one.name]
            line["captions"] = list(one.captions)
            written.write(json.dumps(line, ensure_ascii=False) + "\n")
    return splits


def splits_of_few(names: Sequence[str]) -> dict[str, str]:
    """Return a split for each picture where a division by hash leaves val or test too small to score.

    Of enough pictures none is named: ``data=jsonl`` divides them.
    """
    sizes = Counter(hash_split(names).values())
    if min(sizes["val"], sizes["test"]) >= LEAST or len(names) < 3 * LEAST:
        return {}
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out = dict.fromkeys(ordered[:LEAST], "val") | dict.fromkeys(
        ordered[LEAST : 2 * LEAST], "test"
    )
    return {name: held_out.get(name, "train") for name in names}


def write_coco(labeled: Sequence[Labeled], folder: Path, file: Path) -> None:
    """Write COCO's caption form (Chen et al. 2015), as ``data=json`` reads it."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for one in labeled:
        images.append({"id": one.number, "file_name": one.name, **_size(folder / one.name)})
        for caption in one.captions:
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": one.number, "caption": caption})
    content = {
        "info": {"description": "captions labeled with captionlab"},
        "images": images,
        "annotations": annotations,
        "type": "captions",
    }
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _size(path: Path) -> dict[str, int]:
    """Return width and height of a picture as it is seen; nothing where it cannot be opened."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION_TAG) in ON_ITS_SIDE:
                width, height = height, width
    except Exception:  # Pillow's plugins raise almost anything
        return {}
    return {"width": width, "height": height}


def write_sidecars(
    labeled: Sequence[Labeled], folder: Path, *, pictures: Sequence[str], overwrite: bool = False
) -> int:
    """Write a text beside each picture, a caption a line, as ``data=sidecars`` reads it.

    Returns the number of files. Nothing is written where one of them would take the place of
    another text and ``overwrite`` does not allow it.

    Raises:
        UserError: then; or if a link, or a folder, stands where a text should.
    """
    texts = {
        folder / name: "\n".join(one.captions) + "\n"
        for one, name in zip(labeled, _beside([one.name for one in labeled], pictures), strict=True)
    }
    for path, text in texts.items():
        if path.is_symlink() or path.is_dir():
            raise UserError(f"{path} is a link or a folder: move it away, nothing is written there")
        if not overwrite and path.exists() and path.read_bytes() != text.encode():
            raise UserError(
                f"{path} is there and says something else: say --overwrite to replace it"
            )
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_bytes(text.encode())
    return len(texts)


def _beside(names: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """Return the name of the text beside each picture: a.txt, or a.jpg.txt where it would be two's."""
    times = Counter(os.path.splitext(name)[0] for name in pictures)
    return [
        f"{stem}.txt"
        if times[stem := os.path.splitext(name)[0]] == 1
        and PurePosixPath(stem).name.lower() not in DESCRIBING
        else f"{name}.txt"
        for name in names
    ]
