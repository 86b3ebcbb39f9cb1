"""Picture files changed at random are decoded, or end in one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captionlab.data.images.files import BrokenImage, broken_reason, load_image
from fuzz_support import changed, cuts, ends_well

EXIF = Image.Exif()
EXIF[0x0112] = 6
FORMATS = {
    "jpeg": {"format": "JPEG", "exif": EXIF},
    "progressive": {"format": "JPEG", "progressive": True},
    "png": {"format": "PNG"},
    "gif": {"format": "GIF"},
    "webp": {"format": "WEBP"},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    "ppm": {"format": "PPM"},
}


def encoded(name: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, **FORMATS[name])
    return buffer.getvalue()


def check(path: Path, content: bytes, what: object) -> None:
    path.write_bytes(content)

    def read() -> None:
        image = load_image(path, size=16)
        assert image.shape[0] == 3
        assert image.dtype.is_floating_point is False

    decoded = ends_well(read, path.parent, what)
    reason = broken_reason(path)
    assert reason is None or len(reason) < 2_000, what
    # the quick check before training lets nothing through that ends a run in its middle; it may ask
    # for less of a file than decoding it needs (a JPEG's last rows at an eighth)
    if decoded:
        return
    with pytest.raises(BrokenImage):
        load_image(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_cut_at_fifty_places(name: str, tmp_path: Path):
    for number, content in enumerate(cuts(encoded(name))):
        check(tmp_path / "picture", content, (name, number))


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_picture(name: str, tmp_path: Path):
    for seed in range(25):
        check(tmp_path / "picture", changed(encoded(name), seed), (name, seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_changed_pictures(name: str, tmp_path: Path):
    for seed in range(25, 425):
        check(tmp_path / "picture", changed(encoded(name), seed), (name, seed))
