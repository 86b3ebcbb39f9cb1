"""Which files are pictures, by the endings of their names."""

from __future__ import annotations

from pathlib import PurePath

# what Pillow opens; AVIF from version 11.3 on. An older one, or one without a codec, names the file
PICTURE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
) | {".ppm", ".pgm", ".jp2", ".avif"}
# photographs that it does not open. They stand beside a JPEG of the same name where a phone's pictures
# were converted, so that they are no pictures of a data set; who asks for a caption is told of each
UNDECODED_ENDINGS = frozenset((".heic", ".heif", ".jxl"))


def is_picture(name: str | PurePath) -> bool:
    """Return whether a name has the ending of a picture that can be opened."""
    return PurePath(name).suffix.lower() in PICTURE_ENDINGS


def is_undecoded(name: str | PurePath) -> bool:
    """Return whether a name has the ending of a photograph that cannot be opened."""
    return PurePath(name).suffix.lower() in UNDECODED_ENDINGS
