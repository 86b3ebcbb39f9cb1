"""Pictures of strangers: bounded in bytes and pixels, told by their content, decoded to a tensor."""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captionlab.applications.serve.http import ApiError
from captionlab.data.images.files import to_rgb, upright
from captionlab.data.images.hostile import hostile_reason

# Pillow speaks of a damaged tag and reads on; a stranger's pictures write no log
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# none that runs another program (EPS), holds other files, or is a video
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
# samples of 16 and 32 bits are scaled in 64-bit floats, transparency is laid on another canvas
DEEP, TRANSPARENT = 4, 2
# OpenJPEG holds each sample in 32 bits, several times
WAVELETS = 4


def decode_image(data: bytes, *, size: int, max_pixels: int, param: str = "image") -> Tensor:
    """Return a picture upright and in color, (3,h,w) uint8, as ``captionlab.data`` reads one of a file.

    Of a moving picture the first frame. ``size``: pixels that the captioner sees; a JPEG is decoded
    small where it is much larger. ``max_pixels``: what may be decoded.

    Raises:
        ApiError: 415 for what is no picture, 413 for one too large, 400 for a damaged one.
    """
    if not data:
        raise ApiError(400, f"{param} is empty (0 bytes)", param=param)
    try:
        image = Image.open(io.BytesIO(data), formats=readable_formats())
    except Image.DecompressionBombError:
        raise _too_large(param, max_pixels) from None
    except Exception:  # on a damaged head Pillow's plugins raise almost anything
        raise ApiError(
            415,
            f"{param} is no picture that this server reads (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF); its "
            f"first bytes are {data[:8].hex(' ')}",
            param=param,
        ) from None
    with image:
        try:
            image.draft(None, _draft_size(image.size, 2 * size))
            if image.width * image.height * _weight(image) > max_pixels:
                raise _too_large(param, max_pixels, image)
            if reason := hostile_reason(image):
                raise ApiError(413, f"{param} {reason}", param=param)
            pixels = np.array(to_rgb(upright(image)))
        except ApiError:
            raise
        except Exception:
            raise ApiError(
                400, f"{param} is damaged: it cannot be decoded to its end", param=param
            ) from None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def decode_data_uri(text: str, param: str = "image") -> bytes:
    """Return the bytes of a data URI in base64.

    Raises:
        ApiError: for any other text.
    """
    head = DATA_URI.match(text)
    if head is None:
        raise ApiError(
            400,
            f"{param} must be a data URI, data:image/jpeg;base64,..., and begins with {text[:30]!r}",
            param=param,
        )
    try:
        return base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{param} is no base64 after its comma", param=param) from None


@lru_cache
def readable_formats() -> tuple[str, ...]:
    """Return those of the formats that this Pillow reads; looking takes its time once."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _weight(image: Image.Image) -> int:
    """Return how many times the memory of plain color a picture of this kind takes while it is read."""
    if image.format == "JPEG2000":
        return WAVELETS
    if image.mode.startswith(("I", "F")):
        return DEEP
    return TRANSPARENT if image.has_transparency_data else 1


def _too_large(param: str, most: int, image: Image.Image | None = None) -> ApiError:
    has = "" if image is None else f" ({image.width:,} x {image.height:,}, mode {image.mode})"
    return ApiError(
        413,
        f"{param} has too many pixels{has}: {most / 1e6:.0f} million are the most, half of that "
        "with transparency, a quarter with 16 bits of gray or of JPEG 2000; shrink it first",
        param=param,
    )


def _draft_size(size: tuple[int, int], least: int) -> tuple[int, int]:
    """Return the size to ask a JPEG for, so that its short side keeps at least ``least`` pixels."""
    scale = min(1.0, least / max(1, min(size)))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
