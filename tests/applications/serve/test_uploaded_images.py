"""Pictures of strangers."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab.applications.serve.http import ApiError
from captionlab.applications.serve.images import decode_data_uri, decode_image
from captionlab.data.images.files import load_image
from serve_support import picture, uri

LIMITS = {"size": 32, "max_pixels": 1_000_000}


def refused(data: bytes, **limits: int) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decode_image(data, **(LIMITS | limits))
    return caught.value


def encoded(image: Image.Image, form: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says it is so large, and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        *((mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
        *(("CMYK", "JPEG"), ("CMYK", "TIFF"), ("F", "TIFF"), ("RGB", "WEBP"), ("RGB", "BMP")),
        *(("P", "GIF"), ("L", "JPEG"), ("RGB", "JPEG2000"), ("RGB", "PPM"), ("RGB", "AVIF")),
    ],
)
def test_every_mode_and_format_is_read_as_of_a_file(tmp_path, mode, form):
    data = picture(37, 21, mode, form)
    path = tmp_path / "picture"
    path.write_bytes(data)
    assert torch.equal(decode_image(data, **LIMITS), load_image(path, size=32))


def test_orientation_animation_and_thin_pictures():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif)
    assert decode_image(turned, **LIMITS).shape == (3, 40, 20)
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(moving, **LIMITS)[0].float().mean() > 250
    assert decode_image(picture(1000, 1), **LIMITS).shape == (3, 1, 1000)
    assert decode_image(picture(1, 1000, "RGB", "JPEG"), **LIMITS).shape == (3, 1000, 1)


def test_what_is_no_picture_is_told_by_its_content():
    assert refused(b"").status_code == 400
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    for data in (b"\0", b"<html></html>", b"%PDF-1.7", b"GIF89a", postscript, b"\0" * 5000, b"BM"):
        assert refused(data).status_code in (400, 415), data
    assert "no picture" in str(refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").message)


def test_a_damaged_picture_is_said_to_be():
    noise = Image.fromarray(np.random.randint(0, 256, (64, 64, 3), dtype=np.uint8))
    for form in ("PNG", "JPEG", "WEBP", "BMP"):
        data = encoded(noise, form)
        assert refused(data[: len(data) // 2]).status_code in (400, 415)


def test_a_bomb_is_refused_before_it_is_decoded():
    for width, height in ((2**31 - 1, 2**31 - 1), (30_000, 30_000), (20_000, 100), (1, 2_000_000)):
        assert refused(png_of(width, height)).status_code == 413, (width, height)


def test_what_takes_more_memory_may_have_fewer_pixels():
    assert decode_image(picture(1000, 900), **LIMITS).shape == (3, 900, 1000)
    assert refused(picture(1000, 900, "RGBA")).status_code == 413
    assert decode_image(picture(700, 700, "RGBA"), **LIMITS).shape == (3, 700, 700)
    assert refused(picture(700, 700, "I;16")).status_code == 413
    assert refused(picture(700, 700, "RGB", "JPEG2000")).status_code == 413
    assert decode_image(picture(400, 400, "RGB", "JPEG2000"), **LIMITS).shape == (3, 400, 400)
    # a large photograph is decoded small, however many pixels it has
    assert decode_image(picture(3000, 2000, "RGB", "JPEG"), **LIMITS).shape == (3, 250, 375)


def test_a_data_uri_is_base64_and_nothing_else():
    assert decode_data_uri(uri(b"abc")) == b"abc"
    assert decode_data_uri("DATA:image/svg+xml;charset=utf-8;BASE64,YWJj") == b"abc"
    for text in ("", "data:", "data:image/png,abc", "data:image/png;base64,a", "base64,YWJj"):
        with pytest.raises(ApiError) as caught:
            decode_data_uri(text)
        assert caught.value.status_code == 400
