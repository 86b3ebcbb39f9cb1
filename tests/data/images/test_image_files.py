import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL import __version__ as pillow
from torch._utils import ExceptionWrapper

from captionlab.data.images.files import BrokenImage, broken_reason, load_image
from captionlab.data.images.prepare import prepare
from data_support import RED, WHITE, color_at, jpeg_bytes, photo, save


@pytest.mark.parametrize("form", ["png", "bmp", "gif", "webp", "tiff", "jpg"])
def test_every_common_format_is_read(tmp_path: Path, form: str):
    image = load_image(save(tmp_path / f"a.{form}", Image.new("RGB", (7, 5), RED)))
    assert (image.shape, image.dtype) == ((3, 5, 7), torch.uint8)
    assert all(abs(a - b) <= 2 for a, b in zip(color_at(image, 2, 3), RED, strict=True))


BLACK = {
    "1": 0,
    "L": 0,
    "P": 0,
    "LA": (0, 255),
    "RGBA": (0, 0, 0, 255),
    "CMYK": (0, 0, 0, 255),
    "YCbCr": (0, 128, 128),
}


@pytest.mark.parametrize("mode", BLACK)
def test_every_mode_becomes_the_color_it_shows(tmp_path: Path, mode: str):
    image = Image.new("RGB", (6, 6), "white").convert(mode)
    image.putpixel((0, 0), BLACK[mode])
    form = "tiff" if mode in {"CMYK", "YCbCr"} else "png"
    file = save(tmp_path / f"a.{form}", image)
    if mode == "YCbCr" and int(pillow.split(".")[0]) < 13:
        pytest.skip(
            "before version 13 Pillow reads no uncompressed YCbCr of a TIFF, its own neither"
        )
    assert Image.open(file).mode == mode
    tensor = load_image(file)
    assert color_at(tensor, 3, 3) == WHITE
    assert color_at(tensor, 0, 0) == (0, 0, 0)


def test_transparency_is_laid_on_white(tmp_path: Path):
    image = Image.new("RGBA", (4, 4), (*RED, 255))
    image.putpixel((0, 0), (*RED, 0))
    image.putpixel((1, 0), (*RED, 128))
    tensor = load_image(save(tmp_path / "a.png", image))
    assert color_at(tensor, 0, 0) == WHITE
    assert color_at(tensor, 0, 1) == (255, 127, 127)
    assert color_at(tensor, 3, 3) == RED


@pytest.mark.parametrize("form", ["png", "gif"])
def test_a_transparent_palette_color_is_white(tmp_path: Path, form: str):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 255, *RED])
    image.putpixel((0, 0), 0)
    opaque = load_image(save(tmp_path / f"a.{form}", image))
    assert color_at(opaque, 0, 0) == (0, 0, 255)
    clear = load_image(save(tmp_path / f"b.{form}", image, transparency=0))
    assert (color_at(clear, 0, 0), color_at(clear, 3, 3)) == (WHITE, RED)


def test_a_transparent_gray_level_of_a_png_is_white(tmp_path: Path):
    tensor = load_image(save(tmp_path / "a.png", Image.new("L", (4, 4), 9), transparency=9))
    assert color_at(tensor, 0, 0) == WHITE


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, form: str):
    values = np.array([[0, 257 * 50, 257 * 200, 65535]], np.uint16)
    tensor = load_image(save(tmp_path / f"a.{form}", Image.fromarray(values)))
    assert tensor[:, 0].T.tolist() == [[v] * 3 for v in (0, 50, 200, 255)]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0.0, 0.5, 1.0, np.nan]], np.float32), [0, 128, 255, 0]),
        (np.array([[0.0, 100.0, 255.0, -3.0]], np.float32), [0, 100, 255, 0]),
        (np.array([[0, 10_000_000, 20_000_000, -5]], np.int32), [0, 128, 255, 0]),
        (np.array([[0, 100, 200, 255]], np.int32), [0, 100, 200, 255]),
    ],
)
def test_deep_samples_are_scaled_by_what_they_reach(tmp_path: Path, values, wanted):
    tensor = load_image(save(tmp_path / "a.tiff", Image.fromarray(values)))
    assert tensor[0, 0].tolist() == wanted


def test_inverted_cmyk_of_adobe_is_right(tmp_path: Path):
    # Pillow writes CMYK JPEGs as Photoshop does: inverted, with an Adobe marker
    file = save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)
    assert b"Adobe" in file.read_bytes()[:100]
    red, green, blue = color_at(load_image(file), 8, 8)
    assert red > 245
    assert max(green, blue) < 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpg", "png", "tiff", "webp"])
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, form: str):
    # what a camera stores so that the viewer's turn gives a red left half again
    upright = photo()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    tensor = load_image(save(tmp_path / f"a.{form}", stored, exif=exif, **QUALITY[form]))
    wanted = torch.from_numpy(np.array(upright)).permute(2, 0, 1)
    assert tensor.shape == wanted.shape
    assert (tensor.int() - wanted.int()).abs().float().mean() < 6


QUALITY = {
    "jpg": {"quality": 95, "subsampling": 0},
    "png": {},
    "tiff": {},
    "webp": {"lossless": True},
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_nonsense_exif_block_is_ignored(tmp_path: Path):
    file = save(tmp_path / "a.jpg", photo(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert load_image(file).shape == (3, 40, 60)


@pytest.mark.parametrize("size", [(500, 1), (1, 500), (1, 1)])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_one_pixel_wide_images_work(tmp_path: Path, size: tuple[int, int], fit: str):
    file = save(tmp_path / "a.jpg", Image.new("RGB", size, RED))
    assert prepare(load_image(file), 32, fit).shape == (3, 32, 32)


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    photo().save(buffer, "png")
    return buffer.getvalue()


BROKEN = [
    (b"", "is empty (0 bytes)"),
    (jpeg_bytes()[:2000], "is cut off: 2,000 bytes do not hold the whole image"),
    (png_bytes()[:-40], "is cut off"),
    (jpeg_bytes()[:10], "is cut off: 10 bytes"),
    (jpeg_bytes()[:2], "is no image: it is a JPEG cut off in its head"),
    (b"<!DOCTYPE html>\n<html>404</html>", "is an HTML page"),
    (b"<?xml version='1.0'?><svg/>", "is an XML or SVG file"),
    (b"%PDF-1.7 ...", "is a PDF file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    (b"Just words.\n", "is a text file"),
    (b'{"message": "not found"}', "is a JSON file"),
    (bytes(300), "is nothing but zero bytes"),
    (b"\x9a\x01\xfe\xdc" * 9, "starts with the bytes 9a 01 fe dc 9a 01 fe dc"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_file_says_what_it_is(tmp_path: Path, data: bytes, reason: str):
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    with pytest.raises(BrokenImage) as error:
        load_image(file)
    assert str(error.value).startswith(f"{file} ")
    assert reason in str(error.value)
    assert reason in (broken_reason(file) or "")


def test_no_file_and_a_folder_say_so(tmp_path: Path):
    with pytest.raises(BrokenImage, match=r"b.jpg does not exist"):
        load_image(tmp_path / "b.jpg")
    with pytest.raises(BrokenImage, match="is a folder, not an image"):
        load_image(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT")
    with pytest.raises(BrokenImage, match="is too large to be a photograph"):
        load_image(file)


def test_the_sentence_survives_a_loading_process(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"")
    # what a DataLoader does with an exception of its worker
    try:
        load_image(tmp_path / "a.jpg")
    except BrokenImage:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(BrokenImage) as error:
        wrapped.reraise()
    assert "Traceback" in wrapped.exc_msg
    assert str(error.value) == f"{tmp_path / 'a.jpg'} is empty (0 bytes)"
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path):
    ramp = np.linspace(0, 255, 2000, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (1500, 1)), np.tile(ramp[:1500, None], 2000)], -1)
    image = Image.fromarray(np.dstack([pixels, pixels[..., :1]]))
    file = save(tmp_path / "a.jpg", image, quality=95)
    small = load_image(file, size=128)
    assert small.shape == (3, 375, 500)
    difference = prepare(small, 128).int() - prepare(load_image(file), 128).int()
    assert difference.abs().max() <= 3


def test_a_small_jpeg_is_decoded_whole(tmp_path: Path):
    file = save(tmp_path / "a.jpg", photo(300, 200))
    assert torch.equal(load_image(file, size=96), load_image(file))


@pytest.mark.filterwarnings("ignore:The image decoding")
def test_real_photographs_equal_torchvisions(flickr8k_root: Path):
    io_module = pytest.importorskip("torchvision.io")
    if not hasattr(io_module, "decode_image"):
        pytest.skip("this torchvision decodes no images")
    for path in sorted((flickr8k_root / "Images").glob("*.jpg"))[:20]:
        theirs = io_module.decode_image(str(path), mode=io_module.ImageReadMode.RGB)
        difference = (load_image(path).int() - theirs.int()).abs()
        assert difference.max() <= 3
        assert difference.float().mean() < 0.1
