"""Predict by a server of somebody else's model: the same lines as of a checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from captionlab.applications.endpoint.settings import Endpoint
from captionlab.cli.endpoint_captions import caption_all
from captionlab.cli.predict import find_images
from captionlab.cli.streams import has_reader
from captionlab.core.files import replacing, require_file_place


def predict_endpoint(endpoint: Endpoint, paths: Sequence[str], *, out: str | None = None) -> int:
    """Caption images; return 0, or 1 if some image got no caption (each is named).

    Raises:
        UserError: if a path, ``out`` or the server is wrong.
    """
    images = find_images(paths)
    target = None if out is None else require_file_place(out, "--out ")
    if target is None:
        return _caption(endpoint, images, None)
    with (
        replacing(target) as temporary,
        # half a surrogate, of a file's name that is no UTF-8, is written as JSON escapes it
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        return _caption(endpoint, images, file)


def _caption(endpoint: Endpoint, images: list[Path], file: TextIO | None) -> int:
    def write(number: int, caption: str | None) -> bool:
        if caption is not None:
            _write(file, images[number], caption)
        return file is not None or has_reader()  # captionlab predict ... | head -1

    _, missing = caption_all(endpoint, images, images, write)
    for sentence in missing:
        print(f"error: {sentence}", file=sys.stderr)
    if missing:
        print(f"{len(missing)} of {len(images)} images got no caption", file=sys.stderr)
    return 1 if missing else 0


def _write(file: TextIO | None, path: Path, caption: str) -> None:
    if file is None:
        print(f"{path}\t{caption}", flush=True)
    else:
        line = {"image": str(path), "caption": caption}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
