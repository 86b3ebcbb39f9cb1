"""Tables of any form: delimiter and header are seen, and need not be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.images.formats import is_picture
from captionlab.data.readers.columns import Names
from captionlab.data.readers.files import find, read_lines, read_text
from captionlab.data.readers.table_rows import (
    FLICKR_NUMBER,
    Options,
    Row,
    csv_cells,
    csv_rows,
    is_header,
    numbered_rows,
    short_rows,
)
from captionlab.data.readers.tables import TableReader, require_delimiter, table_file

SIGNS = ("\t", ",", ";", "|", " ")
USUAL_FILES = ("captions.csv", "captions.tsv", "captions.txt")
NAMES_OF_SIGNS = {"\t": "tab", " ": "blank"}
FIRST_LINES = 50


class TableCaptions(TableReader):
    """A table of names and captions: with a header or without, parted by tab, comma, ; | or blank.

    Without a header a line is a name (or a number), the sign, and a caption, which may hold the
    sign; `image_column=1 caption_column=3` tells other columns by their numbers. Columns and names
    are found as for a CSV. `file`: captions.csv, captions.tsv or captions.txt by default.
    """

    LAYOUT = (
        "ROOT/captions.csv, .tsv or .txt: lines of an image, a tab or comma, and a caption, with a "
        "header or without, and the pictures below ROOT"
    )

    def __init__(
        self,
        *,
        file: str | None = None,
        root: str | None = None,
        delimiter: str | None = None,
        image_column: str | int | None = None,
        caption_column: Names | int = None,
        question_column: str | int | None = None,
        answers_column: Names | int = None,
        style_column: str | int | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        path, folder = table_file(file or _usual_file(root), root, self.LAYOUT)
        options = Options(
            None if image_column is None else str(image_column),
            str(caption_column) if isinstance(caption_column, int) else caption_column,
            None if question_column is None else str(question_column),
            str(answers_column) if isinstance(answers_column, int) else answers_column,
            None if style_column is None else str(style_column),
        )
        rows, form = table_rows(path, encoding, delimiter, options)
        super().__init__({path: rows}, root=folder, language=language, form=form)


def table_rows(
    path: Path, encoding: str, delimiter: str | None, options: Options
) -> tuple[Iterator[Row], str]:
    """Return the rows of a table and what the log calls its form.

    Raises:
        UserError: if it is no table of names and captions.
    """
    lines = read_lines(path, encoding)
    sign = seen_sign(lines, options) if delimiter is None else require_delimiter(delimiter)
    if sign is None:
        first = next(line for line in lines if line.strip())
        raise UserError(
            f"{path}: no header and no picture's name before a tab, comma or blank in "
            f"{first[:60]!r}: data.source.delimiter=tab data.source.image_column=1 says where"
        )
    first = next(line for line in lines if line.strip())
    shown = f"parted by {NAMES_OF_SIGNS.get(sign, repr(sign))}"
    if not is_header(first, sign, options):
        form = f"table {path.name} without header, {shown}"
        if not options.tells_columns:
            _require_two_cells(path, first, sign)
            return short_rows(path, lines, sign, options), form
        cells = csv_cells(path, "\n".join(lines), sign)
        return numbered_rows(path, cells, options), form
    header = [cell.strip().strip('"') for cell in first.split(sign)]
    columns = options.columns(header, f"{path}")
    form = f"table {path.name} ({columns}), {shown}"
    if header == [columns.image, columns.captions[0]]:
        # re-issues of Flickr8k leave captions with commas bare
        return _without_bare_signs(path, lines, encoding, sign, options), form
    return csv_rows(path, read_text(path, encoding), sign, options), form


def _require_two_cells(path: Path, line: str, sign: str) -> None:
    """Refuse a line without header that has more cells than a name and a caption."""
    count = line.count(sign) + 1
    if count > 2 and sign in "\t;|":
        raise UserError(
            f"{path}: {count} cells and no header in {line[:60]!r}: say which is which, "
            "data.source.image_column=1 data.source.caption_column=2"
        )


def _without_bare_signs(
    path: Path, lines: Sequence[str], encoding: str, sign: str, options: Options
) -> Iterator[Row]:
    """Return the rows by the rules of CSV if all are well-formed, else by the first sign of a line."""
    try:
        return iter(list(csv_rows(path, read_text(path, encoding), sign, options)))
    except UserError:
        return short_rows(path, lines, sign, options)


def seen_sign(lines: Sequence[str], options: Options) -> str | None:
    """Return the sign that parts a table's cells, None where no line looks like one.

    By the header, else by what follows names of pictures, or numbers, in its first lines.
    """
    filled = [line for line in lines if line.strip()][:FIRST_LINES]
    for sign in SIGNS[:-1]:
        if filled and sign in filled[0] and is_header(filled[0], sign, options):
            return sign
    for sign in SIGNS:
        firsts = [line.strip().partition(sign) for line in filled]
        if firsts and all(
            sign_there and _names_picture(name, sign) for name, sign_there, _ in firsts
        ):
            return sign
    tabbed = all(line.count("\t") == 1 for line in filled)
    return "\t" if filled and tabbed else None


def _names_picture(cell: str, sign: str) -> bool:
    name = cell.strip().strip('"')
    match = FLICKR_NUMBER.fullmatch(name)
    number = name.isascii() and name.isdecimal()
    return number or is_picture(match[1] if match else name)


def _usual_file(root: str | None) -> str:
    folder = Path(root or ".").expanduser()
    usual = find(folder, USUAL_FILES) if folder.is_dir() else None
    return usual.name if usual else USUAL_FILES[0]
