"""The captions of systems that are compared: COCO's results, what predict writes, tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionlab.applications.label.wording import clean_caption, clean_person
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError
from captionlab.data.readers.files import listed, nearest, read_lines, read_text
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.json_tables import json_rows
from captionlab.data.readers.listing import Listing, list_files
from captionlab.data.readers.matching import match_names
from captionlab.data.readers.object_rows import jsonl_items, object_rows
from captionlab.data.readers.table_rows import Options, Row, csv_rows

MOST_BYTES = 2**28  # of a file
MOST_SYSTEMS = 20


@dataclass(frozen=True)
class System:
    """A system's name and its captions: picture, relative to the folder -> caption."""

    name: str
    captions: dict[str, str]


def read_systems(files: Sequence[Path], folder: Path, names: Sequence[str] = ()) -> list[System]:
    """Return the systems whose captions are in files, one each.

    Args:
        files: COCO's result format, any other JSON or JSON Lines of captions, or CSV.
        folder: the pictures.
        names: what the systems are called; by default the file's name, or that of its folder where
            it is a run's captions.json.

    Raises:
        UserError: for a file that is none of these, pictures that are not in the folder, names that
            are one.
    """
    if not 2 <= len(files) <= MOST_SYSTEMS:
        raise UserError(f"{len(files)} files of captions: 2 to {MOST_SYSTEMS} are compared")
    if names and len(names) != len(files):
        raise UserError(f"--names gives {len(names)} names to {len(files)} files")
    called = [clean_person(name, "--names") for name in names or map(_default_name, files)]
    twice = [name for name in called if called.count(name) > 1]
    if twice:
        raise UserError(f"two systems are called {twice[0]}: name each with --names")
    listing = list_files(folder)
    return [
        System(name, _captions(file, folder, listing))
        for name, file in zip(called, files, strict=True)
    ]


def shared_pictures(systems: Sequence[System]) -> list[str]:
    """Return the pictures that every system captioned, sorted.

    Raises:
        UserError: if there are none.
    """
    shared = set.intersection(*(set(system.captions) for system in systems))
    if not shared:
        counts = ", ".join(f"{system.name} {len(system.captions):,}" for system in systems)
        raise UserError(f"no picture has a caption of every system ({counts})")
    return sorted(shared)


def _default_name(file: Path) -> str:
    return file.absolute().parent.name if file.name == "captions.json" else file.stem


def _captions(file: Path, folder: Path, listing: Listing) -> dict[str, str]:
    require_local(file)
    if not file.is_file():
        raise UserError(f"There is no file {file}: {nearest(file)}.")
    if os.path.getsize(file) > MOST_BYTES:
        raise UserError(f"{file} has more than {MOST_BYTES:,} bytes")
    first: dict[str, str] = {}
    places: dict[str, str] = {}
    for row in _rows(file):
        if row.captions:
            where = f"{file}{row.place}"
            first.setdefault(row.image, clean_caption(row.captions[0], where))
            places.setdefault(row.image, where)
    if not first:
        raise UserError(f"{file} holds no caption")
    paths = match_names(places, file, folder, listing).paths
    pictures = {os.path.abspath(folder / name): name for name in listing.pictures()}
    found = {name: pictures.get(os.path.abspath(path)) for name, path in paths.items()}
    missing = [name for name, picture in found.items() if picture is None]
    if missing:
        raise UserError(
            f"{places[missing[0]]}: {len(missing):,} of {len(first):,} pictures are not in {folder}: "
            f"{listed([name[:80] for name in missing])}"
        )
    return {picture: first[name] for name, picture in found.items() if picture is not None}


def _rows(file: Path) -> Iterator[Row]:
    ending = file.suffix.lower()
    if ending == ".jsonl":
        items = list(jsonl_items(file, read_lines(file)))
        return object_rows(file, items, _options(item for _, item in items))
    if ending == ".csv":
        return csv_rows(file, read_text(file), ",", Options())
    data = read_json(file)
    options = _options(data) if isinstance(data, list) else Options()
    return json_rows(file, data, options)[0]


def _options(items: Iterable[object]) -> Options:
    """Return how objects are read: what predict writes has the best caption, and all of them."""
    first = next(iter(items), None)
    both = isinstance(first, dict) and {"caption", "captions"} <= set(first)
    return Options(caption_column="caption") if both else Options()
