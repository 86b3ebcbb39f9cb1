"""Explain: which parts of a photo the words of its caption rest on, on one page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from captionlab.applications.explain.explanation import Explainer, Explanation
from captionlab.applications.explain.page import TITLES, Explained, Page
from captionlab.applications.explain.saliency import Settings, chosen_methods
from captionlab.cli.predict import choose_device, find_images
from captionlab.cli.progress import progress
from captionlab.core.files import require_file_place
from captionlab.data.images.files import BrokenImage, load_image
from captionlab.data.images.prepare import prepare
from captionlab.inference.loaded import LoadedCaptioner, load_captioner
from captionlab.text.prompts import NO_PROMPT, Prompt


def explain(
    checkpoint: str,
    paths: Sequence[str],
    *,
    out: str,
    word: str | None = None,
    caption: str | None = None,
    method: str = "all",
    settings: Settings | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    trust: Sequence[str] = (),
    prompt: Prompt = NO_PROMPT,
) -> int:
    """Write a page that explains captions; return 0, or 1 if some file could not be read.

    Args:
        checkpoint: its path. paths: image files and folders of them. out: the page.
        word: which one, by itself or its number; None for all that say something.
        caption: that is explained; None for the captioner's own.
        method: of ``METHODS``, or all. settings: how much work it is.
        device, overrides, trust, prompt: as of ``predict``.

    Raises:
        UserError: if the checkpoint, a path, the word or ``out`` is wrong; nothing is written then.
    """
    methods = chosen_methods(method)
    images = find_images(paths)
    page_path = require_file_place(out, "--out ")
    loaded = load_captioner(
        checkpoint, device=choose_device(device), decoding=overrides, trust=trust
    )
    loaded.fold()
    explainer = Explainer(loaded, methods, settings)
    explained: list[Explained] = []
    broken: list[BrokenImage] = []
    steps = len(explainer.parts) + 1  # the caption comes first
    with progress("captioning", len(images) * steps) as advance:

        def report(part: str) -> None:
            advance(1, TITLES.get(part, part))

        for path in images:
            try:
                picture, ratio = _read(loaded, path)
            except BrokenImage as error:
                broken.append(error)
                advance(steps)
                continue
            explanation = explainer(
                picture, word=word, prompt=prompt, caption=caption, report=report
            )
            advance(1)
            explained.append(Explained(str(path), explanation, ratio, str(prompt)))
            _print(path, explanation)
    for one in broken:
        print(f"error: {one}", file=sys.stderr)
    if explained:
        facts = {"model": f"{checkpoint} ({loaded.config['model'].get('name')})"}
        Page("Why these words", explained, facts).write(page_path)
        print(f"look at    {page_path}")
    return 1 if broken else 0


def _read(loaded: LoadedCaptioner, path: Path) -> tuple[Tensor, float]:
    """Return a picture as the model sees it, and the ratio of width and height to show it in."""
    size = loaded.captioner.encoder.image_size
    fit = loaded.config["data"].get("fit", "stretch")
    image = load_image(path, size=size)
    height, width = image.shape[1:]
    ratio = width / height if fit == "stretch" else 1.0
    return prepare(image, size, fit), min(max(ratio, 0.2), 5.0)


def _print(path: Path, explanation: Explanation) -> None:
    print(f"{path}\t{explanation.caption}")
    for method, reason in explanation.missing.items():
        print(f"  no {TITLES[method]}: {reason}")
    for word in explanation.words:
        points = ", ".join(
            f"{TITLES[one.method]} {one.peak[0]:.0%} across {one.peak[1]:.0%} down"
            for one in word.saliencies
        )
        print(f"  {word.place} {word.text} ({word.probability:.0%}): {points}")
    times = ", ".join(f"{TITLES.get(k, k)} {v:.1f} s" for k, v in explanation.seconds.items())
    print(f"  time: {times}", flush=True)
