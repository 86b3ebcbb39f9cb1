"""Judgments of people about two captions of a picture, and their CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.files import replacing
from captionlab.data.readers.files import nearest, read_text
from captionlab.data.readers.table_rows import csv_cells

EQUAL = "equal"
MOST_BYTES = 2**28
MOST_CHARACTERS = 10_000  # of a cell
RATINGS = ("correctness_a", "correctness_b", "fluency_a", "fluency_b")
WORST, BEST = 1, 5
REQUIRED = ("judge", "image", "system_a", "system_b", "choice")
# what spreadsheets run as a formula; an apostrophe before it makes it text
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Judgment:
    """What one judge said of two systems' captions of a picture.

    Attributes:
        choice: the name of the preferred system, or "equal".
        left: the name of the system that was shown on the left; "" where nobody knows.
        repeat: whether the judge had seen this pair before, for consistency.
        correctness_a, correctness_b, fluency_a, fluency_b: 1 to 5, None where not rated.
        seconds: from when it was shown; None where nobody knows.
    """

    judge: str
    image: str
    system_a: str
    system_b: str
    choice: str
    left: str = ""
    repeat: bool = False
    caption_a: str = ""
    caption_b: str = ""
    correctness_a: int | None = None
    correctness_b: int | None = None
    fluency_a: int | None = None
    fluency_b: int | None = None
    seconds: float | None = None


COLUMNS = tuple(field.name for field in fields(Judgment))


def write_judgments(judgments: Iterable[Judgment], file: Path) -> None:
    """Write a CSV with a header, a line each."""
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as written:
        table = csv.writer(written)
        table.writerow(COLUMNS)
        for judgment in judgments:
            table.writerow([_cell(value) for value in asdict(judgment).values()])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value)
    escaped = text.startswith(FORMULA) or text.startswith("'")
    return f"'{text}" if escaped and isinstance(value, str) else text


def read_judgments(file: Path) -> list[Judgment]:
    """Return the judgments of a CSV that has at least the columns REQUIRED; others are optional.

    Raises:
        UserError: with the line of what does not fit.
    """
    require_local(file)
    if not file.is_file():
        raise UserError(f"There is no file {file}: {nearest(file)}.")
    if os.path.getsize(file) > MOST_BYTES:
        raise UserError(f"{file} has more than {MOST_BYTES:,} bytes")
    cells = csv_cells(file, read_text(file), ",")
    header = [name.strip() for name in next(cells, (0, []))[1]]
    for name in REQUIRED:
        if name not in header:
            hint = did_you_mean(name, header)
            raise UserError(
                f"{file} has no column {name!r} ({hint}): {', '.join(REQUIRED)} are needed"
            )
    judgments = []
    for line, row in cells:
        where = f"{file}:{line}"
        if len(row) != len(header):
            raise UserError(f"{where}: {len(row)} cells where the header names {len(header)}")
        judgments.append(_judgment(dict(zip(header, row, strict=True)), where))
    if not judgments:
        raise UserError(f"{file} holds no judgment")
    return judgments


def _judgment(row: Mapping[str, str], where: str) -> Judgment:
    texts = {name: _text(row.get(name, ""), where, name) for name in COLUMNS}
    for name in REQUIRED:
        if not texts[name]:
            raise UserError(f"{where}: {name} is empty")
    systems = (texts["system_a"], texts["system_b"])
    if systems[0] == systems[1]:
        raise UserError(f"{where}: {systems[0]!r} is compared with itself")
    _require_one_of(texts["choice"], (*systems, EQUAL), where, "choice")
    _require_one_of(texts["left"], (*systems, ""), where, "left")
    _require_one_of(texts["repeat"].lower(), ("", "0", "1", "false", "true"), where, "repeat")
    ratings = {name: _rating(texts[name], where, name) for name in RATINGS}
    return Judgment(
        judge=texts["judge"],
        image=texts["image"],
        system_a=systems[0],
        system_b=systems[1],
        choice=texts["choice"],
        left=texts["left"],
        repeat=texts["repeat"].lower() in ("1", "true"),
        caption_a=texts["caption_a"],
        caption_b=texts["caption_b"],
        seconds=_seconds(texts["seconds"], where),
        **ratings,
    )


def _text(cell: str, where: str, name: str) -> str:
    if len(cell) > MOST_CHARACTERS:
        raise UserError(
            f"{where}: {name} has {len(cell):,} characters; {MOST_CHARACTERS:,} are the most"
        )
    text = cell.strip()
    return text[1:] if text.startswith("'") else text


def _require_one_of(value: str, options: Sequence[str], where: str, name: str) -> None:
    if value not in options:
        shown = ", ".join(repr(option) for option in options if option)
        raise UserError(f"{where}: {name} is {value[:80]!r}, and none of {shown}")


def _rating(text: str, where: str, name: str) -> int | None:
    if not text:
        return None
    if text not in [str(number) for number in range(WORST, BEST + 1)]:
        raise UserError(f"{where}: {name} is {text[:80]!r}, and no number from {WORST} to {BEST}")
    return int(text)


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UserError(f"{where}: seconds is {text[:80]!r}, and no number of them")
    return seconds
