"""Small files that ask for more than their pixels are refused before they are decoded."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.images import decode_image
from captionlab.data.images.files import BrokenImage, broken_reason, load_image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n"


def jpeg_with_scans(more: int, **settings: object) -> bytes:
    """Return a progressive JPEG whose last scan comes so many times again."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "JPEG", progressive=True, **settings)
    data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


def tiff_of_tile(picture: tuple[int, int], tile: tuple[int, int]) -> bytes:
    """Return a gray TIFF all of whose tiles are the same zero bytes."""
    raw = zlib.compress(bytes(tile[0] * tile[1]), 9)
    entries = {256: picture[0], 257: picture[1], 258: 8, 259: 8, 262: 1, 277: 1}
    entries |= {322: tile[0], 323: tile[1], 324: 0, 325: len(raw)}
    entries[324] = 8 + 2 + 12 * len(entries) + 4
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(4) + raw


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg_with_scans(200), "scans"),
        (jpeg_with_scans(100, comment=b"\xff\xd9"), "scans"),
        (tiff_of_tile((1, 1), (4096, 2048)), "tiles have 8,388,608 pixels"),
        (tiff_of_tile((1, 2**24), (16, 16)), "tiles have 268,435,456 pixels"),
        (EPS, "Ghostscript"),
    ],
)
def test_what_asks_for_more_than_its_pixels_is_refused(tmp_path: Path, data: bytes, reason: str):
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    with pytest.raises(BrokenImage, match=reason):
        load_image(path)
    assert reason in (broken_reason(path) or "")
    with pytest.raises(ApiError) as caught:
        decode_image(data, size=32, max_pixels=2**30)
    assert caught.value.status_code in (413, 415)


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with_scans(50),
        # scans of what is no part of the picture: a comment, what lies behind the end
        jpeg_with_scans(0, comment=b"\xff\xda\0\x02" * 200),
        jpeg_with_scans(0) + jpeg_with_scans(0) * 20,
        tiff_of_tile((3, 3), (256, 256)),
    ],
)
def test_what_does_not_is_decoded(tmp_path: Path, data: bytes):
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert broken_reason(path) is None
    assert load_image(path).shape == decode_image(data, size=32, max_pixels=10_000).shape
