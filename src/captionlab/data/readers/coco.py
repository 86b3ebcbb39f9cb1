"""COCO captions in the official JSON files, and the folders their photographs live in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.data.readers.files import data_root, find, listed, require
from captionlab.data.readers.json_files import read_json
from captionlab.data.records import Entry, Reader


class CocoImages:
    """Finds a COCO photograph: in the folder its annotation names, or in the 2017 re-issue.

    COCO 2017 holds the photographs of 2014, differently divided, under names without the prefix
    (COCO_val2014_000000391895.jpg is 000000391895.jpg); so either download serves every split file.
    """

    def __init__(self, root: Path, folders: tuple[str, ...], layout: str) -> None:
        self._folders: dict[str, Path] = {}
        for name in folders:
            folder = find(root, (name, f"images/{name}"))
            if folder:
                self._folders[name] = folder
        self._val2017: set[str] = set()
        self._fallback: Path | None = None
        if not self._folders:
            self._fallback = find(root, ("train2017", "images/train2017"))
            val2017 = find(root, ("val2017", "images/val2017"))
            if self._fallback is None or val2017 is None:
                places = (folders[0], f"images/{folders[0]}")
                require(root, places, what="image folder", layout=layout)
            else:
                self._val2017 = set(os.listdir(val2017))
        self._root = root

    def path(self, folder: str, name: str) -> Path:
        """Return where the photograph is, or where it should be."""
        if self._fallback is None:
            return self._folders.get(folder, self._root / folder) / name
        short = name.rpartition("_")[2]
        split = "val2017" if short in self._val2017 else "train2017"
        return self._fallback.parent / split / short


class CocoOfficial(Reader):
    """COCO's own caption files: its train and val splits (captions of its test set are not public).

    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; Chen et al., "Microsoft COCO
    Captions", arXiv 1504.00325. `year` is 2014 (82,783 + 40,504 images) or 2017 (118,287 + 5,000).
    """

    LAYOUT: ClassVar[str] = (
        "ROOT/annotations/captions_trainYEAR.json, ROOT/annotations/captions_valYEAR.json, "
        "ROOT/trainYEAR/, ROOT/valYEAR/"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        year: int,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        if year not in (2014, 2017):
            raise UserError(f"data.source.year={year}: COCO captions are of 2014 or 2017")
        layout = self.LAYOUT.replace("YEAR", str(year))
        folder = data_root(root, layout)
        files = {
            split: require(folder, coco_files(split, year), what="caption file", layout=layout)
            for split in ("train", "val")
        }
        by_split = {split: coco_captions(file, encoding) for split, file in files.items()}
        images = CocoImages(folder, (f"train{year}", f"val{year}"), layout)
        entries = [
            Entry(
                split,
                image_id,
                images.path(f"{split}{year}", name),
                captions,
                f"{files[split]}: images[{index}]",
            )
            for split, images_of_split in by_split.items()
            for index, (image_id, name, captions) in enumerate(images_of_split)
        ]
        super().__init__(entries, language=language, origin=folder / "annotations")


def coco_files(split: str, year: int) -> tuple[str, ...]:
    """Return the places below the root where an official caption file is looked for."""
    name = f"captions_{split}{year}.json"
    return (f"annotations/{name}", name)


def coco_captions(file: Path, encoding: str) -> list[tuple[int | str, str, list[str]]]:
    """Return (image id, file name, captions) of an official file; UserError where it is another."""
    data = read_json(file, encoding)
    images, annotations = _tables(data, file)
    names: dict[int | str, str] = {}
    for index, image in enumerate(images):
        place = f"{file}: images[{index}]"
        given = _fields(image, ("id", "file_name"), place)
        image_id = fields.identifier(given[0], place, "id")
        name = fields.file_name(given[1], place, "file_name")
        if image_id in names:
            raise UserError(f"{file}: image id {image_id} stands twice ({names[image_id]}, {name})")
        names[image_id] = name
    captions: dict[int | str, list[str]] = {image_id: [] for image_id in names}
    for index, annotation in enumerate(annotations):
        place = f"{file}: annotations[{index}]"
        given = _fields(annotation, ("image_id", "caption"), place)
        image_id = fields.identifier(given[0], place, "image_id")
        if image_id not in captions:
            raise UserError(
                f"{place} belongs to image {image_id!r}, which is none of its {len(names):,} images"
            )
        captions[image_id].append(fields.text(given[1], place, "caption"))
    without = [names[image_id] for image_id, texts in captions.items() if not texts]
    if without:
        raise UserError(
            f"{file} lists {len(without):,} of {len(names):,} images without a caption: "
            f"{listed(without)}"
        )
    return [(image_id, name, captions[image_id]) for image_id, name in names.items()]


def _tables(data: object, file: Path) -> tuple[list[object], list[object]]:
    keys = sorted(data) if isinstance(data, dict) else []
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        content = f"the keys {', '.join(keys)}" if keys else f"a {type(data).__name__}"
        raise UserError(f"{file} is no COCO caption file: it holds {content}, no list 'images'")
    if not isinstance(data.get("annotations"), list):
        first = data["images"][0] if data["images"] else None
        if isinstance(first, dict) and "sentences" in first:
            raise UserError(f"{file} is a Karpathy split file: use data=karpathy_coco")
        raise UserError(f"{file} is no caption file: it has {', '.join(keys)}, no 'annotations'")
    annotations = data["annotations"]
    if annotations and isinstance(annotations[0], dict) and "caption" not in annotations[0]:
        raise UserError(
            f"{file} is no caption file: its annotations carry "
            f"{', '.join(sorted(annotations[0]))}, no 'caption'; "
            "COCO's captions are in captions_train2014.json and its kin"
        )
    return data["images"], annotations


def _fields(item: Any, keys: tuple[str, ...], place: str) -> tuple[object, ...]:
    missing = [key for key in keys if not isinstance(item, dict) or key not in item]
    if missing:
        has = ", ".join(sorted(item)) if isinstance(item, dict) else type(item).__name__
        raise UserError(f"{place} has no {missing[0]!r} (it has {has})")
    return tuple(item[key] for key in keys)
