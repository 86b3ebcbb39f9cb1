"""Image files as they come: any mode, any orientation, and a reason where one cannot be read."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.data.images.hostile import hostile_reason
from captionlab.data.images.packed import PackedImage

# Pillow warns from 89 million pixels on and refuses from 179 million on: refusing is enough
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# an EXIF block only tells the orientation; without it the image is taken as it is
warnings.filterwarnings("ignore", "(Possibly )?corrupt EXIF data", category=UserWarning)

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# what lies under the name of an image when a download went wrong
IMPOSTORS: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8", "a JPEG cut off in its head"),
    (rb"\x89PNG", "a PNG cut off in its head"),
    (rb"\s*<(!doctype html|html|head)", "an HTML page (a failed download?)"),
    (rb"\s*<(\?xml|svg)", "an XML or SVG file"),
    (rb"%PDF", "a PDF file"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file it points to"),
    (rb"\s*[{\[]", "a JSON file"),
    (rb"....ftyp(heic|heif|mif1)", "a HEIC photograph: convert it to JPEG"),
    (rb"....ftypavi[fs]", "AVIF, which this Pillow cannot decode: pip install 'pillow>=11.3'"),
    (rb"\0\0\0\x0cjP  ", "JPEG 2000, which this Pillow cannot decode: convert it to JPEG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL photograph: convert it to JPEG"),
    (rb"....ftyp", "a video"),
    (rb"\0+$", "nothing but zero bytes"),
    (rb"[\t\n\r\x20-\x7e]+$", "a text file"),
)


class BrokenImage(UserError):  # noqa: N818 - part of the interface, read as a sentence
    """An image file that cannot be decoded; the sentence names the file and the reason."""

    def __init__(self, sentence: str) -> None:
        # a DataLoader worker hands on an exception as its whole traceback: keep the sentence alone
        super().__init__(sentence.strip().rpartition("BrokenImage: ")[2])


def load_image(path: str | os.PathLike[str] | PackedImage, *, size: int | None = None) -> Tensor:
    """Return the image upright and in color, (3,h,w) uint8 RGB; of a moving image the first frame.

    Transparency is laid on white; 16-bit and float samples are scaled, not clipped. `size` promises
    that the caller shrinks the image to `size` pixels: then a JPEG more than four times as large is
    decoded at a half, a quarter or an eighth, at least 2 * `size` on the short side, which is fast.

    Raises:
        BrokenImage: if there is no such file, or it is cut off, too large, or no image.
    """
    path = path if isinstance(path, PackedImage) else Path(path)
    try:
        with Image.open(_opened(path)) as image:
            if reason := hostile_reason(image):
                raise BrokenImage(f"{path} {reason}")
            if size is not None:
                image.draft(None, _draft_size(image, 2 * size))
            pixels = np.array(to_rgb(upright(image)))
    # on a damaged file Pillow's plugins raise almost anything: OSError, SyntaxError, struct.error
    except UserError:
        raise
    except Exception as error:
        raise BrokenImage(f"{path} {_reason(path, error)}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def broken_reason(path: str | os.PathLike[str] | PackedImage) -> str | None:
    """Return why `load_image` would refuse the file, or None; a JPEG is decoded at an eighth.

    The whole file is still read and its Huffman codes decoded, so this finds what a full decoding
    finds, in half of the time.
    """
    path = path if isinstance(path, PackedImage) else Path(path)
    try:
        with Image.open(_opened(path)) as image:
            if reason := hostile_reason(image):
                return reason
            image.draft("L", (1, 1))
            image.load()
    except UserError:  # of a packed one: its whole file is not as it was
        raise
    except Exception as error:
        return _reason(path, error)
    return None


def _opened(image: Path | PackedImage) -> Path | io.BytesIO:
    return io.BytesIO(image.read()) if isinstance(image, PackedImage) else image


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF orientation says; an unreadable EXIF says nothing."""
    image.load()  # Pillow turns a TIFF by itself when it decodes it, and says no more of it then
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:
        return image
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode in mode RGB: alpha on white, deep samples scaled to 8 bits."""
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        colors = image.convert("RGBA")
        white = Image.new("RGBA", colors.size, "white")
        return Image.alpha_composite(white, colors).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    highest = float(values.max(initial=0.0))
    if image.mode.startswith("I;16") or (image.mode == "I" and 255 < highest <= 65535):
        top = 65535.0
    elif image.mode == "F" and highest <= 1.0:
        top = 1.0
    else:
        top = max(255.0, highest)
    return Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))


def _draft_size(image: Image.Image, least: int) -> tuple[int, int]:
    """Return the size to ask a JPEG for, so that its short side keeps at least `least` pixels."""
    scale = min(1.0, least / max(1, min(image.size)))
    return (max(1, round(image.width * scale)), max(1, round(image.height * scale)))


def _reason(path: Path | PackedImage, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large to be a photograph ({error}): shrink it first"
    if isinstance(path, PackedImage):
        data = path.read()
        return _reason_in(error, len(data), data[:512])
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, IsADirectoryError) or path.is_dir():
        return "is a folder, not an image"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    try:
        count = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as unreadable:
        return f"cannot be read: {unreadable.strerror or unreadable}"
    return _reason_in(error, count, start)


def _reason_in(error: Exception, count: int, start: bytes) -> str:
    """Return what is wrong with so many bytes that begin so."""
    if count == 0:
        return "is empty (0 bytes)"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"is no image: {_impostor(start)}"
    if "truncated" in str(error).lower():
        return f"is cut off: {count:,} bytes do not hold the whole image"
    return f"is damaged: {error or type(error).__name__}"


def _impostor(start: bytes) -> str:
    for pattern, name in IMPOSTORS:
        if re.match(pattern, start, re.IGNORECASE | re.DOTALL):
            return f"it is {name}"
    return f"no known format starts with the bytes {start[:8].hex(' ')}"
