"""Pictures of a folder as a browser gets them: by number, decoded and encoded again."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from captionlab.core.errors import UserError
from captionlab.data.images.files import load_image
from captionlab.data.readers.files import nearest
from captionlab.data.readers.listing import lies_inside, list_files

LONG_SIDE = 1600  # pixels
QUALITY = 88
KEPT = 64  # views in memory


def pictures_below(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder and those in it, relative to it.

    Raises:
        UserError: if there is no such folder, or it holds no picture.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: {nearest(folder)}.")
    names = list_files(folder).pictures()
    if not names:
        raise UserError(f"The folder {folder} holds no picture.")
    return names


class PictureViews:
    """JPEGs of the pictures of a folder, without what the files say beside the picture.

    No byte of a file is sent as it is, so that a browser never reads a stranger's SVG or HTML, nor
    where a photograph was taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = str(folder.resolve())
        self._views: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Semaphore(2)

    def jpeg(self, name: str) -> bytes:
        """Return a picture, upright, at most LONG_SIDE pixels long.

        Raises:
            BrokenImage: if it cannot be decoded.
            UserError: if a link has come to lead out of the folder.
        """
        with self._lock:
            if name in self._views:
                self._views.move_to_end(name)
                return self._views[name]
        with self._decoding:
            view = self._encode(name)
        with self._lock:
            self._views[name] = view
            while len(self._views) > KEPT:
                self._views.popitem(last=False)
        return view

    def _encode(self, name: str) -> bytes:
        path = self._folder / name
        if not lies_inside(path, self._real):
            raise UserError(f"{name} leads out of the folder")
        pixels = load_image(path, size=LONG_SIDE // 2)
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        image.thumbnail((LONG_SIDE, LONG_SIDE))
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=QUALITY)
        return encoded.getvalue()
