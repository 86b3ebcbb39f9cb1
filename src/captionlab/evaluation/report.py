"""What a run shows and leaves: the table of scores, examples, results.json, captions.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from captionlab.core.files import replacing
from captionlab.data.records import CaptionRecord
from captionlab.metrics.score_table import in_order, score_info
from captionlab.metrics.split_scorer import Scores
from captionlab.metrics.statistics_file import STATISTICS, write_statistics

T = TypeVar("T")


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it: nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # half a surrogate, of a file's name that is no UTF-8, is written as JSON escapes it
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, renamed into place."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as one npz file, renamed into place."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def coco_result(captions: Mapping[int | str, str]) -> list[dict[str, object]]:
    """Return captions in COCO's result format."""
    return [{"image_id": image_id, "caption": text} for image_id, text in captions.items()]


def coco_annotations(records: Sequence[CaptionRecord]) -> dict[str, object]:
    """Return the references in COCO's annotation format: with it pycocoevalcap scores captions.json."""
    annotations = [(record.image_id, caption) for record in records for caption in record.captions]
    return {
        "info": {},
        "licenses": [],
        "type": "captions",
        "images": [{"id": record.image_id} for record in records],
        "annotations": [
            {"id": number, "image_id": image_id, "caption": caption}
            for number, (image_id, caption) in enumerate(annotations)
        ],
    }


def vqa_result(
    captions: Mapping[int | str, str], records: Sequence[CaptionRecord]
) -> list[dict[str, object]]:
    """Return answers in the format that VQA's challenge takes, each with its image and question."""
    return [
        {
            "question_id": record.image_id,
            "answer": captions[record.image_id],
            "image_id": record.stored_id,
            "question": record.prompts[0].question,
        }
        for record in records
        if record.prompts and record.prompts[0].question and record.image_id in captions
    ]


def write_scored(folder: Path, scores: Scores, records: Sequence[CaptionRecord]) -> None:
    """Write captions.json, references.json and statistics.npz of a split that was scored.

    Where questions were asked there is answers.json too.
    """
    write_json(folder / "captions.json", coco_result(scores.captions))
    if answers := vqa_result(scores.captions, records):
        write_json(folder / "answers.json", answers)
    write_json(folder / "references.json", coco_annotations(records))
    write_statistics(folder / STATISTICS, list(scores.captions), scores.statistics)


def named_by_split(results: Mapping[str, Mapping[str, T]]) -> dict[str, T]:
    """Return scores under their names on the outside: ``{"test/cider": ...}``."""
    return {f"{split}/{name}": value for split in results for name, value in results[split].items()}


def print_scores(
    columns: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
    console: Console | None = None,
) -> None:
    """Print a table with one column a split; CIDEr on coco-caption's scale (1.0 is its 100).

    ``intervals`` of the scores, 95 % over images, stand beside them.
    """
    title = "Scores" if intervals is None else "Scores and their 95 % intervals over images"
    table = Table(title=title)
    table.add_column("")
    for split in columns:
        table.add_column(split, justify="right")
    for name in in_order({name for scores in columns.values() for name in scores}):
        cells = [
            _scored(name, scores.get(name), (intervals or {}).get(split, {}).get(name))
            for split, scores in columns.items()
        ]
        table.add_row(escape(name), *cells)
    (console or Console()).print(table)


def _scored(name: str, value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    digits = score_info(name).digits
    around = "" if interval is None else f"  {interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
    return f"{value:.{digits}f}{around}"


def print_examples(
    scores: Scores,
    references: Mapping[int | str, Sequence[str]],
    count: int,
    console: Console | None = None,
) -> None:
    """Print captions, evenly spread over the split, each with its CIDEr, truth and first reference."""
    console = console or Console()
    ids = list(scores.captions)
    if not ids or count < 1:
        return
    stride = max(1, len(ids) // count)
    table = Table(title="Captions", show_lines=True)
    extra = [n for n in ("cider", "truth") if n in next(iter(scores.per_image.values()), {})]
    for column in ("image", "caption", *extra, "a reference"):
        table.add_column(column, overflow="fold")  # Chinese has no spaces to wrap at
    for image_id in ids[::stride][:count]:
        values = scores.per_image[image_id]
        cells = [_cell(name, values[name]) for name in extra]
        reference = next(iter(references[image_id]), "")
        table.add_row(
            escape(str(image_id)), escape(scores.captions[image_id]), *cells, escape(reference)
        )
    console.print(table)


def _cell(name: str, value: float) -> str:
    return ("yes" if value else "no") if name == "truth" else f"{value:.2f}"
