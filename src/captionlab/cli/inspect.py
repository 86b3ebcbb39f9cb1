"""Inspect: what is in a data set, and what would make a score of it wrong, before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captionlab.build import build_data
from captionlab.cli.logs import quiet_lightning
from captionlab.config.check import check
from captionlab.config.compose import compose
from captionlab.config.resolve import resolve
from captionlab.core.errors import UserError
from captionlab.core.files import require_file_place
from captionlab.data.datamodule import CaptionDataModule
from captionlab.data.dataset import read_record_image
from captionlab.data.images.prepare import shrunk
from captionlab.data.inspection.inspection import inspect_source
from captionlab.data.inspection.result import Inspection, shown_captions
from captionlab.data.summary import origin
from captionlab.evaluation.gallery import LARGEST_SIDE, Example, write_gallery


def inspect(overrides: Sequence[str], page: str | None = None) -> int:
    """Print what is in a data set; return 2 where a score of it would be wrong, else 0.

    Args:
        overrides: as of train: ``data=auto data.root=PATH data.tokenizer.threshold=5``.
        page: where to write an HTML page with the samples.

    Raises:
        UserError: if the data cannot be read at all, or the page has no place.
    """
    inspection = look(overrides, page)
    print(inspection)
    if page is not None:
        print(f"{'page':<10} {page}")
    return 2 if inspection.problems else 0


def look(
    overrides: Sequence[str], page: str | None = None, *, option: str = "--html "
) -> Inspection:
    """Return what is in a data set, and write the page where one is wanted.

    Args:
        overrides, page: as of ``inspect``. option: what names the page's place in a sentence.

    Raises:
        UserError: if the data cannot be read at all, or the page has no place.
    """
    place = None if page is None else require_file_place(page, option)
    quiet_lightning()
    config = resolve(compose([*overrides, "output_dir=unused"]))
    check({"data": config["data"]})
    data: CaptionDataModule = build_data(config["data"])
    inspection = inspect_source(data.source, fit=data.fit_tokenizer, max_length=data.max_length)
    inspection.name = f"{data.name}: {origin(config['data'])}"
    if place is not None:
        write_page(place, inspection)
    return inspection


def write_page(place: Path, inspection: Inspection) -> None:
    """Write the page: facts and findings above, the samples with all their captions below."""
    findings = {f"warning {n}": text for n, text in enumerate(inspection.warnings, start=1)}
    findings |= {f"problem {n}": text for n, text in enumerate(inspection.problems, start=1)}
    examples = []
    for split, record in inspection.samples:
        remark = split
        try:
            image = shrunk(read_record_image(record, LARGEST_SIDE), LARGEST_SIDE)
            pixels = image.permute(1, 2, 0).numpy()
        except UserError as error:
            pixels, remark = np.full((60, 80, 3), 127, np.uint8), f"{split}: {error}"
        first, *others = shown_captions(record)
        examples.append(Example(pixels, record.image_id, first, others, remark=remark))
    write_gallery(place, examples, inspection.name, {}, {**inspection.facts, **findings})
