"""Where the results of an evaluation lie: one of other settings is never written over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.core.files import read_json

RESULTS, SETTINGS = "results.json", "settings"


def folder_name(*parts: str) -> str:
    """Return parts as one name of a folder: a data set's name comes from a file, too."""
    return "-".join(re.sub(r"[^\w.+-]", "_", part).lstrip(".") or "_" for part in parts if part)


def relative(checkpoint: str, folder: Path) -> str:
    """Return a checkpoint's path as seen from the folder, so that both can be moved together."""
    return os.path.relpath(Path(checkpoint).resolve(), folder.resolve())


def require_free(folder: Path, settings: Mapping[str, object]) -> None:
    """Check that a folder which the user named holds no results of other settings.

    Raises:
        UserError: if it does, with the first setting that differs.
    """
    if holds_results(folder) and (differs := difference(folder, settings)):
        raise UserError(
            f"--out {folder} holds results of other settings ({differs}): they are not written over; "
            "choose another folder"
        )


def claim(beside: Path, settings: Mapping[str, object]) -> Path:
    """Return the folder for these settings: the one that holds theirs, or a new one.

    The names are ``beside``, then ``beside-2`` and so on.
    """
    number = 1
    while True:
        folder = beside if number == 1 else beside.with_name(f"{beside.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if folder.is_dir() and holds_results(folder) and not difference(folder, settings):
                return folder
        number += 1


def holds_results(folder: Path) -> bool:
    """Return whether a run or an evaluation left its results there."""
    return any((folder / name).exists() for name in (RESULTS, "captions.json"))


def difference(folder: Path, settings: Mapping[str, object]) -> str | None:
    """Return the first setting in which results differ from these, in words; None if none does."""
    try:
        stored = read_json(folder / RESULTS)
    except (OSError, ValueError):
        stored = None
    before = stored.get(SETTINGS) if isinstance(stored, dict) else None
    if not isinstance(before, dict):
        return "they do not say which"
    now = json.loads(json.dumps(settings))  # as it would be read back
    return _first_difference(before, now, "")


def _first_difference(before: object, now: object, key: str) -> str | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            inner = f"{key}.{name}" if key else name
            if differs := _first_difference(before.get(name), now.get(name), inner):
                return differs
        return None
    return None if before == now else f"{key} was {before}, now {now}"
