"""Splits by the folders or the file names in which people keep them: train/, val/, test-00000.parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from captionlab.data.readers.division import divided
from captionlab.data.readers.tables import SPLIT_NAMES
from captionlab.data.records import STANDARD_SPLITS

SPLITS = frozenset((*STANDARD_SPLITS, *SPLIT_NAMES))


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder of a path is named after (the uppermost), or None."""
    folders = (part.lower() for part in PurePosixPath(name).parent.parts)
    split = next((folder for folder in folders if folder in SPLITS), None)
    return None if split is None else SPLIT_NAMES.get(split, split)


def split_of_file(name: str) -> str | None:
    """Return the split that a file is named after (train.csv, test-00000-of-00002.parquet), or None."""
    word = re.split(r"[-_.]", PurePosixPath(name).name.lower())[0]
    return SPLIT_NAMES.get(word, word) if word in SPLITS else None


def split_by_folder(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return the split of each name, and in words where it is from.

    Folders decide where each name lies in one and there is more than one of them; a folder ``train``
    alone says nothing, and the names are divided by their hash.
    """
    names = list(names)
    split_of = {name: split_of_folder(name) for name in names}
    if None in split_of.values() or len(set(split_of.values())) < 2:
        return divided(dict.fromkeys(names))
    completed, division = divided(split_of)
    return completed, "; ".join(filter(None, ("by folder", division)))
