"""The folder of an evaluation: scores, captions and a page, written and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from captionlab.core.config_types import Config
from captionlab.data.records import CaptionRecord
from captionlab.evaluation.report import (
    named_by_split,
    print_examples,
    print_scores,
    write_json,
    write_scored,
)
from captionlab.metrics.bootstrap import intervals
from captionlab.metrics.split_scorer import Scores
from captionlab.runs.evaluation_folder import RESULTS, SETTINGS, holds_results

SHOWN = 10  # captions printed


def write_scored_folder(
    folder: Path,
    scores: Scores,
    results: Mapping[str, float],
    records: Sequence[CaptionRecord],
    settings: Config,
    write_page: Callable[[Path], None],
    more: Config | None = None,
) -> None:
    """Write scores, captions and the page of a split into a folder, and print them.

    Args:
        folder: theirs. scores, results: of the split ``settings["data"]["split"]``.
        records: what was captioned. settings: what distinguishes this evaluation from others.
        write_page: writes the gallery. more: what else results.json holds.
    """
    split = settings["data"]["split"]
    certain = intervals(scores.statistics)
    replaced = holds_results(folder)
    write_scored(folder, scores, records)
    named = {**named_by_split({split: results}), "intervals": named_by_split({split: certain})}
    write_json(folder / RESULTS, {**named, SETTINGS: settings, **(more or {})})
    write_page(folder / "gallery.html")
    print_scores({split: results}, {split: certain})
    print_examples(scores, {r.image_id: r.captions for r in records}, SHOWN)
    again = ", in place of results of the same settings" if replaced else ""
    print(f"written    {folder}{again}")
