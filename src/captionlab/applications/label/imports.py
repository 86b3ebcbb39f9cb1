"""Labels and proposals out of other people's files: JSON Lines, JSON, Label Studio's tasks."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from captionlab.applications.label.label_studio import Annotated, is_label_studio, read_tasks
from captionlab.applications.label.store import LabelStore, NewAction, Proposal
from captionlab.applications.label.wording import clean_caption, clean_person
from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.readers.files import nearest, read_lines
from captionlab.data.readers.json_files import read_json
from captionlab.data.readers.json_tables import json_rows
from captionlab.data.readers.object_rows import jsonl_items, object_rows
from captionlab.data.readers.table_rows import Options, Row

MOST_BYTES = 2**28  # of a file
PERSON = "import"

As = Literal["captions", "proposals"]


class Imported(NamedTuple):
    """How much a file gave: pictures, captions of people, proposals of models."""

    pictures: int
    captions: int
    proposals: int


def import_file(store: LabelStore, file: Path, *, take_as: As = "captions") -> Imported:
    """Take the captions of a file into the store, all or none; a second time changes nothing.

    JSON Lines and JSON are read as ``data=jsonl`` and ``data=json`` read them, and their captions
    are people's work, or with ``take_as="proposals"`` what a model proposes. Label Studio's tasks
    say themselves which is which.

    Raises:
        UserError: for a file that is none of these, a picture that is not in the folder, a caption
            that is none.
    """
    pictures = PicturesByName(store.present)
    actions: list[NewAction] = []
    proposals: dict[str, dict[int, list[Proposal]]] = defaultdict(lambda: defaultdict(list))
    seen = set()
    for found in _read(_require_file(file), take_as):
        number = pictures.find(found.image, found.place)
        seen.add(number)
        actions += _actions(found, number, store.present[number])
        for model, of_model in found.proposals.items():
            name = clean_person(model, found.place)
            proposals[name][number] += [
                Proposal(clean_caption(one.caption, found.place), one.score) for one in of_model
            ]
    with store.together():
        store.act(actions)
        for model, of_pictures in proposals.items():
            store.keep_proposals(model, of_pictures)
    count = sum(len(one) for of_pictures in proposals.values() for one in of_pictures.values())
    captions = sum(1 for action in actions if action.caption)
    return Imported(len(seen), captions, count)


def _require_file(file: Path) -> Path:
    require_local(file, "--import ")
    if not file.is_file():
        raise UserError(f"There is no file {file}: {nearest(file)}.")
    size = os.path.getsize(file)
    if size > MOST_BYTES:
        raise UserError(f"{file} has {size:,} bytes; {MOST_BYTES:,} are the most that is imported")
    return file


def _read(file: Path, take_as: As) -> Iterator[Annotated]:
    if file.suffix.lower() == ".jsonl":
        rows = object_rows(file, jsonl_items(file, read_lines(file)), Options())
        return _of_rows(file, rows, take_as)
    data = read_json(file)
    if is_label_studio(data):
        assert isinstance(data, list)
        return read_tasks(file, data)
    rows, _ = json_rows(file, data, Options())
    return _of_rows(file, rows, take_as)


def _of_rows(file: Path, rows: Iterable[Row], take_as: As) -> Iterator[Annotated]:
    for row in rows:
        found = Annotated(f"{file}{row.place}", row.image)
        if take_as == "proposals":
            found.proposals[file.stem[:60]] = [Proposal(text) for text in row.captions]
        else:
            found.captions = [(PERSON, text) for text in row.captions]
        yield found


def _actions(found: Annotated, number: int, name: str) -> Iterator[NewAction]:
    for person, caption in found.captions:
        text = clean_caption(caption, found.place)
        yield _action(number, name, clean_person(person, found.place), "add", text)
    for kind, people in (("nothing_true", found.nothing_true_by), ("skip", found.skipped_by)):
        for person in people:
            yield _action(number, name, clean_person(person, found.place), kind)


def _action(
    number: int, name: str, person: str, kind: str, caption: str | None = None
) -> NewAction:
    # of its content: the same file again has the same keys
    digest = hashlib.sha256("\0".join([name, person, kind, caption or ""]).encode()).hexdigest()
    return NewAction(number, person, kind, f"import-{digest}", caption)


class PicturesByName:
    """Which picture of the folder another file's path means; no path is ever opened."""

    def __init__(self, present: Mapping[int, str]) -> None:
        self._numbers = {name: number for number, name in present.items()}
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for name in present.values():
            self._by_base[PurePosixPath(name).name].append(name)

    def find(self, path: str, where: str) -> int:
        """Return the number of the picture with this path, or with most of its end.

        Raises:
            UserError: if there is none, or several fit as well.
        """
        path = path.strip().replace("\\", "/")
        if path in self._numbers:
            return self._numbers[path]
        parts = PurePosixPath(path).parts[::-1]
        fits = self._by_base.get(parts[0] if parts else "", [])
        agreement = {name: _agreement(parts, PurePosixPath(name).parts[::-1]) for name in fits}
        best = [name for name in fits if agreement[name] == max(agreement.values())]
        if len(best) == 1:
            return self._numbers[best[0]]
        if best:
            raise UserError(
                f"{where}: {path[:200]!r} may be {best[0]} or {best[1]}: name the folder too"
            )
        base = parts[0] if parts else path
        hint = did_you_mean(base[:200], list(self._by_base)[:2000])
        raise UserError(f"{where}: the folder has no picture {path[:200]!r}: {hint}")


def _agreement(parts: tuple[str, ...], others: tuple[str, ...]) -> int:
    count = 0
    for part, other in zip(parts, others, strict=False):
        if part != other:
            break
        count += 1
    return count
