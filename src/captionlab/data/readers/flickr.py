"""Flickr8k, Flickr30k and Flickr8k-CN as they were published, and their common re-issues."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers.fields import cell
from captionlab.data.readers.files import data_root, find, listed, read_lines, require
from captionlab.data.readers.karpathy import FLICKR_FOLDERS, karpathy_files, karpathy_images
from captionlab.data.records import STANDARD_SPLITS, Entry, Reader, hash_split

logger = logging.getLogger(__name__)

SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
SPLIT_AND_IMAGES = (
    "ROOT/Flickr_8k.trainImages.txt, ROOT/Flickr_8k.devImages.txt, "
    "ROOT/Flickr_8k.testImages.txt, ROOT/Images/ (or ROOT/Flicker8k_Dataset/)"
)
CAPTIONS_TXT = "captions.txt"
# Flickr8k.token.txt names this one image, which exists in no download and stands in no split
NO_IMAGE = "2258277193_586949ec62.jpg.1"

Captions = dict[str, list[str]]


class _FlickrReader(Reader):
    """Joins the captions of a Flickr data set with its split and its image folder."""

    dataset: ClassVar[str]
    LAYOUT: ClassVar[str]

    def _join(
        self, folder: Path, file: Path, captions: Captions, split_of: dict[str, str], language: str
    ) -> None:
        photographs = require(
            folder, FLICKR_FOLDERS[self.dataset], what="image folder", layout=self.LAYOUT
        )
        without = [name for name in split_of if name not in captions]
        if without:
            raise UserError(
                f"{file} has no caption for {len(without):,} of the {len(split_of):,} images that "
                f"the split lists: {listed(without)}; is it cut in half?"
            )
        entries = [
            Entry(split, name, photographs / name, captions[name])
            for name, split in split_of.items()
        ]
        super().__init__(entries, language=language, origin=file, splits=STANDARD_SPLITS)


class Flickr8kPublished(_FlickrReader):
    """Flickr8k as published: Flickr8k.token.txt and the three split lists.

    Hodosh, Young, Hockenmaier, "Framing Image Description as a Ranking Task", JAIR 2013. Image ids
    are the file names. Without the lists, Karpathy's dataset_flickr8k.json gives the same split.
    """

    dataset = "flickr8k"
    LAYOUT = f"ROOT/Flickr8k.token.txt, {SPLIT_AND_IMAGES}"
    files: ClassVar[tuple[str, ...]] = ("Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt")
    separator: ClassVar[str] = "\t"

    def __init__(
        self, *, root: str | None = None, encoding: str = "utf-8", language: str = "en"
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        file = require(folder, self.files, what="caption file", layout=self.LAYOUT)
        captions = token_captions(file, encoding, self.separator)
        split_of = published_split(folder, self.dataset)
        if split_of is None:
            split_of = _split_lists(folder, self.LAYOUT)
        self._join(folder, file, captions, split_of, language)


class Flickr8kCN(Flickr8kPublished):
    """Flickr8k-CN: Chinese captions written by native speakers, with the split of Flickr8k.

    Li, Lan, Dong, Liu, "Adding Chinese Captions to Images", ICMR 2016.
    """

    LAYOUT = f"ROOT/flickr8kzhc.caption.txt, {SPLIT_AND_IMAGES}"
    files = ("flickr8kzhc.caption.txt", "data/flickr8kzhc.caption.txt")
    separator = " "

    def __init__(
        self, *, root: str | None = None, encoding: str = "utf-8", language: str = "zh"
    ) -> None:
        super().__init__(root=root, encoding=encoding, language=language)


class Flickr8kCaptionsTxt(_FlickrReader):
    """The captions.txt re-issue of Flickr8k: a header `image,caption`, one caption a line.

    It comes without a split: the published lists or Karpathy's file are used where they lie beside
    it, else the images are divided 80/10/10 by a hash of their names (and the log says so).
    """

    dataset = "flickr8k"
    LAYOUT = (
        f"ROOT/{CAPTIONS_TXT}, ROOT/Images/ (or ROOT/Flicker8k_Dataset/), and for the published "
        "split ROOT/Flickr_8k.{train,dev,test}Images.txt or ROOT/dataset_flickr8k.json"
    )

    def __init__(
        self, *, root: str | None = None, encoding: str = "utf-8", language: str = "en"
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        file = require(folder, (CAPTIONS_TXT,), what="caption file", layout=self.LAYOUT)
        captions = captions_txt(file, encoding)
        split_of = published_split(folder, "flickr8k") or _hashed(captions, file)
        self._join(folder, file, captions, split_of, language)


class Flickr30kPublished(_FlickrReader):
    """Flickr30k: results_20130124.token as published, or its re-issue results.csv.

    Young et al., "From image descriptions to visual denotations", TACL 2014. Neither has a split:
    Karpathy's dataset_flickr30k.json is used where it is present, else a hash of the names.
    `captions` names the file; one whose name ends in .csv is read as the re-issue.
    """

    dataset = "flickr30k"
    LAYOUT = (
        "ROOT/results_20130124.token (or ROOT/results.csv), ROOT/flickr30k-images/, and for "
        "Karpathy's split ROOT/dataset_flickr30k.json"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        captions: str,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        places = flickr30k_files(captions)
        file = require(folder, places, what="caption file", layout=self.LAYOUT)
        read = results_csv if file.suffix == ".csv" else token_captions
        texts = read(file, encoding)
        split_of = published_split(folder, "flickr30k") or _hashed(texts, file)
        self._join(folder, file, texts, split_of, language)


def flickr30k_files(name: str) -> tuple[str, str]:
    """Return the places below the root where a caption file of Flickr30k is looked for."""
    return (name, f"flickr30k_images/{name}")


def token_captions(file: Path, encoding: str = "utf-8", separator: str = "\t") -> Captions:
    """Return image name -> captions of lines `IMAGE.jpg#N<separator>caption`.

    UserError with file:line for a line of another form and for a number that an image has twice.
    """
    captions: Captions = {}
    seen: dict[str, int] = {}
    lines = read_lines(file, encoding)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, is_parted, caption = line.partition(separator)
        image = re.fullmatch(r"(.+?)(?:#[a-z]+)?#\d+", key.strip())
        if not is_parted or image is None:
            sign = "tab" if separator == "\t" else "blank"
            cut = " (the last line: is the file cut in half?)" if number == len(lines) else ""
            raise UserError(
                f"{file}:{number}: expected IMAGE.jpg#N, a {sign} and a caption, "
                f"not {line[:60]!r}{cut}"
            )
        if key in seen:
            raise UserError(f"{file}:{number}: {key} stands already in line {seen[key]}")
        seen[key] = number
        captions.setdefault(image[1], []).append(caption)
    captions.pop(NO_IMAGE, None)
    return captions


def captions_txt(file: Path, encoding: str = "utf-8") -> Captions:
    """Return image name -> captions of a file with the header `image,caption`.

    Some captions with commas are quoted, some are not: what follows the first comma is the caption.
    """
    captions: Captions = {}
    lines = read_lines(file, encoding)
    if [cell.strip() for cell in lines[0].split(",")] != ["image", "caption"]:
        raise UserError(f"{file}:1: expected the header 'image,caption', not {lines[0][:60]!r}")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        image, comma, caption = line.partition(",")
        try:
            cells = next(csv.reader([line]))
        except csv.Error:  # a stray carriage return: the line as it is
            cells = []
        if len(cells) == 2:
            image, caption = cells
        if not comma:
            raise UserError(f"{file}:{number}: no comma between image and caption: {line[:60]!r}")
        captions.setdefault(image.strip(), []).append(cell(caption))
    return captions


def results_csv(file: Path, encoding: str = "utf-8") -> Captions:
    """Return image name -> captions of `image_name| comment_number| comment` lines.

    The published file lacks the second bar in one line (2199200615.jpg, number 4): what follows the
    number is the caption. Any other line without its three parts is a UserError with file:line.
    """
    captions: Captions = {}
    lines = read_lines(file, encoding)
    if [cell.strip() for cell in lines[0].split("|")] != [
        "image_name",
        "comment_number",
        "comment",
    ]:
        raise UserError(
            f"{file}:1: expected the header 'image_name| comment_number| comment', "
            f"not {lines[0][:60]!r}"
        )
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        parts = re.fullmatch(r"([^|]+)\|\s*\d+\s*(?:\||\s)(.*)", line)
        if parts is None:
            raise UserError(f"{file}:{number}: expected IMAGE| N| caption, not {line[:60]!r}")
        captions.setdefault(parts[1].strip(), []).append(cell(parts[2]))
    return captions


def published_split(folder: Path, dataset: str) -> dict[str, str] | None:
    """Return image name -> split by the lists or Karpathy's file below `folder`; None without."""
    if dataset == "flickr8k" and find(folder, _places(SPLIT_LISTS["train"])):
        return _split_lists(folder, Flickr8kPublished.LAYOUT)
    file = find(folder, karpathy_files(dataset))
    if file is None:
        return None
    return {image["filename"]: image["split"] for image in karpathy_images(file, dataset)}


def _places(name: str) -> tuple[str, str]:
    return (name, f"Flickr8k_text/{name}")


def _split_lists(folder: Path, layout: str) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split, name in SPLIT_LISTS.items():
        file = require(folder, _places(name), what="split list", layout=layout)
        for number, line in enumerate(read_lines(file), start=1):
            image = line.strip()
            if not image:
                continue
            if image in split_of:
                other = "twice" if split_of[image] == split else f"in the {split_of[image]} split"
                raise UserError(f"{file}:{number}: {image} stands {other} already")
            split_of[image] = split
    return split_of


def _hashed(names: Iterable[str], file: Path) -> dict[str, str]:
    split_of = hash_split(names)
    logger.warning(
        "no split lists beside %s: %d images are divided 80/10/10 by a hash of their names, "
        "so scores do not compare with published ones",
        file,
        len(split_of),
    )
    return split_of
