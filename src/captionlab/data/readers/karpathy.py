"""Karpathy's split files, the split that published captioning numbers use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, NotRequired, TypedDict

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.readers import fields
from captionlab.data.readers.coco import CocoImages
from captionlab.data.readers.files import data_root, require
from captionlab.data.readers.json_files import read_json
from captionlab.data.records import STANDARD_SPLITS, Entry, Reader

FLICKR_FOLDERS = {
    "flickr8k": (
        "Images",
        "Flicker8k_Dataset",
        "Flickr8k_Dataset",
        "images",
        "Flicker8k_Dataset/Flicker8k_Dataset",
        "Flickr8k_Dataset/Flicker8k_Dataset",
    ),
    "flickr30k": (
        "flickr30k-images",
        "flickr30k_images/flickr30k_images",
        "flickr30k_images",
        "Images",
        "images",
    ),
}


class Sentence(TypedDict):
    """What is read of a caption in a split file."""

    raw: str


class KarpathyImage(TypedDict):
    """What is read of an image in a split file."""

    filename: str
    filepath: NotRequired[str]  # COCO's folder
    cocoid: int | str  # COCO's alone
    split: str
    sentences: list[Sentence]


class Karpathy(Reader):
    """One of dataset_{coco,flickr8k,flickr30k}.json with the photographs beside it.

    Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments", CVPR 2015. COCO's 30,504 images of
    'restval' are trained on (as is the custom) unless `restval_in_train` is false; then they are a
    split of that name. Image ids are COCO's numbers, or Flickr's file names.
    """

    LAYOUTS: ClassVar[dict[str, str]] = {
        "coco": "ROOT/dataset_coco.json, ROOT/train2014/, ROOT/val2014/",
        "flickr8k": "ROOT/dataset_flickr8k.json, ROOT/Images/ (or ROOT/Flicker8k_Dataset/)",
        "flickr30k": "ROOT/dataset_flickr30k.json, ROOT/flickr30k-images/",
    }
    LAYOUT: ClassVar[str] = "; or ".join(LAYOUTS.values())

    def __init__(
        self,
        *,
        root: str | None = None,
        dataset: str,
        restval_in_train: bool = True,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        if dataset not in self.LAYOUTS:
            raise UserError(f"data.source.dataset={dataset}: {did_you_mean(dataset, self.LAYOUTS)}")
        layout = self.LAYOUTS[dataset]
        folder = data_root(root, layout)
        file = require(folder, karpathy_files(dataset), what="Karpathy's split file", layout=layout)
        images = karpathy_images(file, dataset, encoding)
        place = _image_paths(folder, dataset, layout)
        seen: dict[int | str, int] = {}
        entries: list[Entry] = []
        for index, image in enumerate(images):
            image_id = image["cocoid"] if dataset == "coco" else image["filename"]
            if image_id in seen:
                raise UserError(
                    f"{file}: images[{seen[image_id]}] and images[{index}] are both {image_id!r}"
                )
            seen[image_id] = index
            split = "train" if restval_in_train and image["split"] == "restval" else image["split"]
            captions = [sentence["raw"] for sentence in image["sentences"]]
            entries.append(
                Entry(split, image_id, place(image), captions, f"{file}: images[{index}]")
            )
        super().__init__(entries, language=language, origin=file, splits=STANDARD_SPLITS)


def karpathy_files(dataset: str) -> tuple[str, ...]:
    """Return the places below the root where the split file of `dataset` is looked for."""
    name = f"dataset_{dataset}.json"
    return (name, f"annotations/{name}", f"caption_datasets/{name}")


def karpathy_images(file: Path, dataset: str, encoding: str = "utf-8") -> list[KarpathyImage]:
    """Return the checked `images` of a split file; UserError where it is something else."""
    data = read_json(file, encoding)
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(images, list):
        content = ", ".join(sorted(data)) if isinstance(data, dict) else type(data).__name__
        raise UserError(f"{file} is no split file of Karpathy's: it holds {content}, no 'images'")
    if "annotations" in data:
        raise UserError(f"{file} is an official COCO file: use data=coco2014 or data=coco2017")
    needed = {"filename", "split", "sentences", *(["cocoid"] if dataset == "coco" else [])}
    for index, image in enumerate(images):
        missing = sorted(needed - set(image)) if isinstance(image, dict) else sorted(needed)
        if missing:
            raise UserError(
                f"{file}: images[{index}] has no {missing[0]!r}, so this is no split file"
            )
        _require_types(image, f"{file}: images[{index}]")
    return images


def _require_types(image: Mapping[str, object], place: str) -> None:
    fields.file_name(image["filename"], place, "filename")
    fields.text(image["split"], place, "split")
    fields.text(image.get("filepath", ""), place, "filepath")
    if "cocoid" in image:
        fields.identifier(image["cocoid"], place, "cocoid")
    sentences = image["sentences"]
    if not isinstance(sentences, list):
        raise UserError(f"{place}: 'sentences' must be a list, not {fields.named(sentences)}")
    if not sentences:
        raise UserError(f"{place} ({image['filename']}) has no sentences")
    for number, sentence in enumerate(sentences):
        if not isinstance(sentence, dict) or "raw" not in sentence:
            raise UserError(f"{place} has a sentence without 'raw' text (sentences[{number}])")
        fields.text(sentence["raw"], f"{place}.sentences[{number}]", "raw")


def _image_paths(folder: Path, dataset: str, layout: str) -> Callable[[KarpathyImage], Path]:
    if dataset == "coco":
        images = CocoImages(folder, ("val2014", "train2014"), layout)
        return lambda image: images.path(image.get("filepath", ""), image["filename"])
    names = FLICKR_FOLDERS[dataset]
    photographs = require(folder, names, what="image folder", layout=layout)
    return lambda image: photographs / image["filename"]
