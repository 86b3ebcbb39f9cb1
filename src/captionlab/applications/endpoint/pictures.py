"""Pictures as they are sent: upright, in color, small enough, JPEG in a data: address."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from captionlab.data.dataset import read_record_image
from captionlab.data.images.files import BrokenImage, load_image
from captionlab.data.images.packed import PackedImage
from captionlab.data.images.prepare import shrunk
from captionlab.data.records import CaptionRecord

# a file, what lies in one, or what draws an array (h,w,3), as of a CaptionRecord
Source = Path | PackedImage | Callable[[], np.ndarray]
QUALITY = 90  # of JPEG


def content_digest(source: Source) -> str:
    """Return a digest of a picture's bytes, or of its pixels where it is drawn.

    Raises:
        BrokenImage: if there is no such file, or it cannot be read.
    """
    if isinstance(source, PackedImage):
        return hashlib.sha256(source.read()).hexdigest()
    if callable(source):
        pixels = np.ascontiguousarray(source())
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    try:
        if source.is_file():
            with source.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        pass
    load_image(source)  # which says what is wrong with it
    raise BrokenImage(f"{source} is no file that can be read twice: copy it into one")


def as_data_uri(source: Source, max_side: int) -> str:
    """Return a picture as the data: address of a JPEG, its long side ``max_side`` pixels at most.

    Raises:
        BrokenImage: if it cannot be decoded.
    """
    image = read_record_image(CaptionRecord("", source, ()), max_side)
    pixels = shrunk(image, max_side).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
