"""Predict by a server of somebody else's model: the same lines as of a checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from captionlab.applications.endpoint.captions import Request
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.applications.endpoint.wording import Wording
from captionlab.cli.endpoint_captions import caption_all
from captionlab.cli.predict import ASKED, find_images, lines_place
from captionlab.cli.streams import has_reader
from captionlab.core.files import replacing
from captionlab.text.prompts import NO_PROMPT, Prompt


def predict_endpoint(
    endpoint: Endpoint,
    paths: Sequence[str],
    prompt: Prompt = NO_PROMPT,
    *,
    template: str | None = None,
    out: str | None = None,
) -> int:
    """Ask about images; return 0, or 1 if some image got no caption (each is named).

    ``prompt``: what is asked of each. ``template``: how that is worded, None for the usual way.

    Raises:
        UserError: if a path, ``out``, the template or the server is wrong.
    """
    wording = Wording(template, prompt.language or "en")
    wording.require_served([prompt], "nothing stands there without --ask QUESTION or --style NAME")
    text = wording.text(prompt)
    images = find_images(paths)
    target = None if out is None else lines_place(out)
    if target is None:
        return _caption(endpoint, images, prompt, text, None)
    with (
        replacing(target) as temporary,
        # half a surrogate, of a file's name that is no UTF-8, is written as JSON escapes it
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        return _caption(endpoint, images, prompt, text, file)


def _caption(
    endpoint: Endpoint, images: list[Path], prompt: Prompt, text: str, file: TextIO | None
) -> int:
    def write(number: int, caption: str | None) -> bool:
        if caption is not None:
            _write(file, images[number], prompt, caption)
        return file is not None or has_reader()  # captionlab predict ... | head -1

    requests = [Request(path, text) for path in images]
    _, missing = caption_all(endpoint, images, requests, write)
    for sentence in missing:
        print(f"error: {sentence}", file=sys.stderr)
    if missing:
        print(f"{len(missing)} of {len(images)} images got no caption", file=sys.stderr)
    return 1 if missing else 0


def _write(file: TextIO | None, path: Path, prompt: Prompt, caption: str) -> None:
    if file is None:
        print(f"{path}\t{caption}", flush=True)
    else:
        asked = {key: value for key in ASKED if (value := getattr(prompt, key))}
        line = {"image": str(path), **asked, "caption": caption}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
