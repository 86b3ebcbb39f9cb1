"""Finding and reading annotation files, with answers for all that goes wrong on the way."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from captionlab.core.errors import UserError

ENCODING_KEY = "data.source.encoding"
UTF_8 = "utf-8"


def data_root(root: str | Path | None, layout: str) -> Path:
    """Return `root` as a folder that exists; UserError (with the layout) where it is not one."""
    if root is None or str(root) in {"", "???"}:
        raise UserError(
            "data.root is not set: give data.root=FOLDER, the folder of the data set; "
            f"expected layout: {layout}"
        )
    folder = Path(root).expanduser()
    if folder.is_file():
        raise UserError(f"data.root={root} is a file, not a folder; expected layout: {layout}")
    if not folder.is_dir():
        raise UserError(
            f"data.root={root} does not exist: {nearest(folder)}; expected layout: {layout}"
        )
    return folder


def nearest(path: Path) -> str:
    """Return what exists nearest to a missing `path`: a similar name, or what its folder holds.

    Of a file where a folder is wanted, or the other way around, it says that.
    """
    path = path.expanduser().absolute()
    if path.exists():
        return "it is a folder" if path.is_dir() else "it is a file"
    missing, parent = path.name, path.parent
    while not parent.is_dir() and parent != parent.parent:
        missing, parent = parent.name, parent.parent
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(missing, names, n=1, cutoff=0.7)
    if near:
        return f"the nearest that exists is {str(parent / near[0])!r}"
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")
    return f"the nearest that exists is {str(parent)!r}, which holds {shown or 'nothing'}"


def find(root: Path, names: Sequence[str]) -> Path | None:
    """Return the first of `names` that exists below `root`, or None."""
    return next((root / name for name in names if (root / name).exists()), None)


def require(root: Path, names: Sequence[str], *, what: str, layout: str) -> Path:
    """Return the first of `names` that exists below `root`; UserError with the layout otherwise."""
    place = find(root, names)
    if place is None:
        tried = " or ".join(dict.fromkeys(Path(name).name for name in names))
        raise UserError(
            f"data.root={root} has no {what} ({tried}): {nearest(root / names[0])}; "
            f"expected layout: {layout}"
        )
    return place


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the file's text without byte order mark; UserError where `encoding` (UTF-8) does not fit.

    Say it where a setting of the user's decides it, which the error then names.
    """
    name = _encoding(encoding or UTF_8)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise UserError(f"{path} is empty ({len(data)} bytes)")
    try:
        text = data.decode("utf-8-sig" if name == "utf-8" else name)
    except UnicodeDecodeError as error:
        raise UserError(_wrong_encoding(path, data, encoding, error)) from None
    except UnicodeError as error:  # of codecs that are not of single characters, such as idna
        raise UserError(f"{path} is not {encoding}: {error}") from None
    return text.removeprefix("\ufeff")


def _encoding(encoding: str) -> str:
    """Return the encoding's own name; UserError for one that is not there or gives no text."""
    try:
        codec = codecs.lookup(encoding)
    except (LookupError, ValueError, TypeError):
        raise UserError(f"{ENCODING_KEY}={encoding!r} is no encoding that Python knows") from None
    if not getattr(codec, "_is_text_encoding", True):  # base64, zip, rot13
        raise UserError(
            f"{ENCODING_KEY}={encoding!r} is no encoding of text: utf-8 is the usual one"
        )
    return codec.name


def _wrong_encoding(path: Path, data: bytes, setting: str | None, error: UnicodeDecodeError) -> str:
    # the utf-8-sig codec counts from behind the mark
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    start = error.start + (mark if error.encoding.startswith("utf-8") else 0)
    line = data.count(b"\n", 0, start) + 1
    where = f"byte {start:,} (line {line:,})"
    if error.reason in {
        "unexpected end of data",
        "truncated data",
        "incomplete multibyte sequence",
    }:
        return f"{path} breaks off inside a character at {where}: it is cut in half, fetch it again"
    encoding = setting or UTF_8
    guess = _guess_encoding(data, other_than=encoding)
    if guess is None:
        way_out = "no common encoding fits, so convert it"
    elif setting is None:
        way_out = f"it seems to be {guess}: save it as UTF-8"
    else:
        way_out = f"set {ENCODING_KEY}={guess}"
    return f"{path} is not {encoding}: byte 0x{data[start]:02x} at {where}; {way_out}"


def _guess_encoding(data: bytes, other_than: str) -> str | None:
    """Return an encoding that decodes `data`, the most telling one first, or None."""
    high = len(re.findall(rb"[\x80-\xff]", data))
    in_runs = sum(len(run) for run in re.findall(rb"[\x80-\xff]{2,}", data))
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    elif data.count(0) > len(data) // 10:
        candidates = ["utf-16-le" if data[1:2] == b"\0" else "utf-16-be"]
    elif in_runs > 0.8 * high:
        # Chinese text in GB codes has its high bytes in pairs, accented Latin text has them alone
        candidates = ["utf-8", "gb18030", "cp1252"]
    else:
        candidates = ["utf-8", "cp1252", "gb18030", "latin-1"]
    for candidate in candidates:
        if candidate == other_than:
            continue
        try:
            data.decode(candidate)
        except UnicodeDecodeError:
            continue
        return candidate
    return None


def read_lines(path: Path, encoding: str | None = None) -> list[str]:
    r"""Return the file's lines; only \n, \r\n or an old Mac's \r ends one, not U+2028 or so."""
    text = read_text(path, encoding)
    lines = text.split("\n" if "\n" in text else "\r")
    return [line.removesuffix("\r") for line in lines]


def listed(names: Sequence[object], most: int = 5) -> str:
    """Return the first few names, comma-separated, with an ellipsis where there are more."""
    shown = ", ".join(str(name) for name in names[:most])
    return f"{shown}, ..." if len(names) > most else shown
