"""Pictures that ask for more than their pixels: for hours, for gigabytes, for another program."""

from __future__ import annotations

import re
from typing import IO, Any

from PIL import Image

MOST_SCANS = 100  # of a JPEG, as libtiff has it; a progressive one has about ten
MOST_SEGMENTS = 10_000
PADDING = 4  # times the pixels of a TIFF, that its tiles may have together
SMALL = 2**22  # pixels that tiles may have in any case
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF 6.0, section 15
_SCAN, _END = 0xDA, 0xD9
# what libjpeg takes for a marker, wherever it looks for the next one; restarts are of a scan
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


def hostile_reason(image: Image.Image) -> str | None:
    """Return why a picture that was opened, and not decoded yet, must not be decoded; None if it may.

    A scan of a JPEG takes sixty bytes and goes over all pixels; a tile of a TIFF is decoded whole,
    however little of it lies in the picture.
    """
    if image.format == "EPS":
        return "is PostScript, a program that Ghostscript would run: convert it to PNG"
    if image.format in ("JPEG", "MPO"):
        if _has_too_many_scans(getattr(image, "fp", None)):
            return f"is a JPEG of more than {MOST_SCANS} scans: save it anew"
    elif image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        width, length = (_number(tags.get(tag)) for tag in (TILE_WIDTH, TILE_LENGTH))
        if width and length:
            decoded = _padded(image.width, width) * _padded(image.height, length)
            if decoded > max(SMALL, PADDING * image.width * image.height):
                return f"is a TIFF whose tiles have {decoded:,} pixels together: save it anew"
    return None


def _has_too_many_scans(file: IO[bytes] | None) -> bool:
    if file is None:
        return False
    place = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(place)
    # quick, and never too few: other segments may hold these bytes as well
    return data.count(bytes((0xFF, _SCAN))) > MOST_SCANS and _walk_is_too_long(data)


def _walk_is_too_long(data: bytes) -> bool:
    """Return whether the segments of a JPEG, its first picture's, are too many."""
    scans, position = 0, 0
    for _ in range(MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None or found[1][0] == _END:
            return False
        scans += found[1][0] == _SCAN
        if scans > MOST_SCANS:
            return True
        position = found.end()
        if _has_length(found[1][0]):
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return True


def _has_length(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF or 0xDA <= marker <= 0xEF or marker == 0xFE


def _number(value: object) -> int:
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else 0


def _padded(size: int, tile: int) -> int:
    return -(-size // tile) * tile
