"""Which picture a name in a table means, where it is not the path of one as it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.images.formats import is_picture
from captionlab.data.readers.files import listed
from captionlab.data.readers.listing import Listing, list_files

SAMPLE = 50  # names that tell whether names are paths as they stand
MOST_DIGITS = 18


@dataclass(frozen=True)
class Match:
    """Where each name's picture lies, and in words ``how`` the names were read ("" as they are)."""

    paths: Mapping[str, Path]
    how: str = ""


def match_names(
    places: Mapping[str, str], file: Path, root: Path | None, listing: Listing | None = None
) -> Match:
    """Return the picture of each name.

    Names are paths below the root, or below the folder of the file, or absolute, where half of them
    lead somewhere. Else they are matched with the pictures below the root: by file name below any
    other folder, by stem, or by number, whichever fits most, if it fits half of the names or of the
    pictures. Names without a picture, and all
    where nothing fits, are paths as they stand.

    Args:
        places: name -> where it stands. listing: the files below the root where they are known.

    Raises:
        UserError: if two pictures fit a name, or a relative path leads out of the root.
    """
    names = list(places)
    folders = [folder for folder in (root, file.parent) if folder is not None]
    _require_inside(places, folders)
    sample = names[:: max(1, len(names) // SAMPLE)]
    # os.path's: a name that no file system takes exists nowhere, while Path's raises
    hits = {
        folder: sum(os.path.isfile(folder / name) for name in sample) for folder in folders[::-1]
    }
    base = max(folders, key=lambda folder: hits[folder])
    as_they_are = {name: base / name for name in names}
    if 2 * hits[base] >= len(sample):
        return Match(as_they_are)
    listing = listing or list_files(root or file.parent)
    way = _best_way(names, listing.pictures())
    if way is None:
        links = listed(listing.outside)
        return Match(as_they_are, f"links out of the folder not followed: {links}" if links else "")
    how, candidates = way
    _require_unique(candidates, places, how)
    matched = {name: listing.root / fits[0] for name, fits in candidates.items() if fits}
    return Match({**as_they_are, **matched}, f"names matched {how}")


def nearest_picture(name: str, pictures: Sequence[str]) -> str:
    """Return a hint at the picture that is named most like ``name``."""
    return did_you_mean(PurePosixPath(name).name, [PurePosixPath(p).name for p in pictures[:2000]])


Candidates = dict[str, list[str]]


def _best_way(names: Sequence[str], pictures: Sequence[str]) -> tuple[str, Candidates] | None:
    ways: tuple[tuple[str, Callable[[str], str | None], Callable[[str], str | None]], ...] = (
        ("by file name below another folder", _base_name, _base_name),
        ("by stem", _stem, _stem),
        ("by number", _number, _last_number),
    )
    best: tuple[int, str, Candidates] | None = None
    for how, key_of_name, key_of_picture in ways:
        by_key: dict[str, list[str]] = {}
        for picture in pictures:
            key = key_of_picture(picture)
            if key is not None:
                by_key.setdefault(key, []).append(picture)
        candidates = {
            name: _closest(name, by_key.get(key_of_name(name) or "", [])) for name in names
        }
        count = sum(map(bool, candidates.values()))
        if count and (best is None or count > best[0]):
            best = (count, how, candidates)
    # fewer than half of both may be an accident
    if best is None or 2 * best[0] < min(len(names), len(pictures)):
        return None
    return best[1:]


def _base_name(name: str) -> str:
    return PurePosixPath(name).name.lower()


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return (path.stem if is_picture(name) else path.name).lower()


def _number(name: str) -> str | None:
    """Return the number that a name is, perhaps with zeros before it or a picture's ending."""
    stem = _stem(name).strip()
    if not (stem.isascii() and stem.isdecimal()):
        return None
    digits = stem.lstrip("0") or "0"
    return digits if len(digits) <= MOST_DIGITS else None


def _last_number(picture: str) -> str | None:
    """Return the last number in a picture's name: COCO_val2014_000000391895.jpg is 391895."""
    digits = re.findall(r"[0-9]+", PurePosixPath(picture).stem)
    return _number(digits[-1]) if digits else None


def _closest(name: str, pictures: list[str]) -> list[str]:
    """Return those of the pictures whose folders agree longest with the name's, from the end."""
    if len(pictures) < 2:
        return pictures
    folders = PurePosixPath(name).parent.parts[::-1]

    def agreement(picture: str) -> int:
        own = PurePosixPath(picture).parent.parts[::-1]
        equal = [a == b for a, b in zip(folders, own, strict=False)]
        return equal.index(False) if False in equal else len(equal)

    most = max(map(agreement, pictures))
    return [picture for picture in pictures if agreement(picture) == most]


def _require_unique(candidates: Candidates, places: Mapping[str, str], how: str) -> None:
    owner: dict[str, str] = {}
    for name, fits in candidates.items():
        if len(fits) > 1:
            raise UserError(
                f"{places[name]}: {name!r} may be {fits[0]} or {fits[1]} (names are matched {how}): "
                "write the one that is meant, with its folder"
            )
        if fits and owner.setdefault(fits[0], name) != name:
            raise UserError(
                f"{places[name]}: {name!r} and {owner[fits[0]]!r} may both be {fits[0]} (names are "
                f"matched {how}): write each image in one way"
            )


def _require_inside(places: Mapping[str, str], folders: Iterable[Path]) -> None:
    roots = [os.path.abspath(folder).rstrip("/") + "/" for folder in folders]
    for name, where in places.items():
        if ".." not in name or os.path.isabs(name) or ".." not in name.split("/"):
            continue
        if not any(os.path.abspath(root + name).startswith(tuple(roots)) for root in roots):
            raise UserError(
                f"{where}: {name[:200]!r} leads out of data.root: set data.root to the folder that "
                "holds both"
            )
