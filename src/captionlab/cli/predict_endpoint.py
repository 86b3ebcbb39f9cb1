"""Predict by a server of somebody else's model: the same lines as of a checkpoint."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import Progress

from captionlab.applications.endpoint.cache import AnswerCache
from captionlab.applications.endpoint.captions import Outcome, caption_pictures
from captionlab.applications.endpoint.retry import Retry
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.cli.predict import find_images
from captionlab.cli.streams import has_reader
from captionlab.core.caches import cache_folder
from captionlab.core.errors import UserError
from captionlab.core.files import replacing, require_file_place

INTERRUPTED = 130  # as a shell reports a program that Ctrl-C has ended


def predict_endpoint(
    endpoint: Endpoint, paths: Sequence[str], *, out: str | None = None, retry: Retry | None = None
) -> int:
    """Caption images; return 0, 1 if some image got no caption (each is named), 130 after Ctrl-C.

    Raises:
        UserError: if a path, ``out`` or the server is wrong.
    """
    images = find_images(paths)
    target = None if out is None else require_file_place(out, "--out ")
    if target is None:
        return _caption(endpoint, images, None, retry)
    with (
        replacing(target) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        status = _caption(endpoint, images, file, retry)
        if status == INTERRUPTED:
            raise SystemExit(INTERRUPTED)  # the old file stays
        return status


def _caption(
    endpoint: Endpoint, images: list[Path], file: TextIO | None, retry: Retry | None
) -> int:
    cache = AnswerCache(cache_folder())
    missing: list[str] = []
    done = 0
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("captioning", total=len(images))

        def take(number: int, outcome: Outcome) -> bool:
            nonlocal done
            done += 1
            bar.update(task, advance=1)
            if isinstance(outcome, UserError):
                missing.append(named(images[number], outcome))
            else:
                _write(file, images[number], outcome)
            return file is not None or has_reader()  # captionlab predict ... | head -1

        try:
            caption_pictures(endpoint, images, cache, take, retry=retry, on_wait=warn)
        except KeyboardInterrupt:
            say_interrupted(done, len(images), cache)
            return INTERRUPTED
        finally:
            say_ignored(cache)
    for sentence in missing:
        print(f"error: {sentence}", file=sys.stderr)
    if missing:
        print(f"{len(missing)} of {len(images)} images got no caption", file=sys.stderr)
    return 1 if missing else 0


def named(image: object, error: UserError) -> str:
    """Return why an image has no caption, in a sentence that begins with its name."""
    sentence = str(error)
    return sentence if sentence.startswith(str(image)) else f"{image}: {sentence}"


def warn(sentence: str) -> None:
    """Print a sentence about the work on stderr."""
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def say_interrupted(done: int, total: int, cache: AnswerCache) -> None:
    """Say after Ctrl-C what is kept."""
    print(
        f"interrupted: {done:,} of {total:,} images are done; what was answered is kept in "
        f"{cache.folder}, and the same command goes on from there",
        file=sys.stderr,
    )


def say_ignored(cache: AnswerCache) -> None:
    """Say in one line which kept answers could not be used."""
    if cache.ignored:
        count = len(set(cache.ignored))
        warn(f"{count} kept answers could not be used, and are asked for: {cache.ignored[0]}")


def _write(file: TextIO | None, path: Path, caption: str) -> None:
    if file is None:
        print(f"{path}\t{caption}", flush=True)
    else:
        line = {"image": str(path), "caption": caption}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
