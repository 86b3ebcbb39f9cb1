"""Several sources of captions of the same images: languages, authors, styles."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.images.packed import PackedImage
from captionlab.data.records import STANDARD_SPLITS, CaptionRecord, CaptionSource
from captionlab.text.prompts import Prompt

By = Literal["language", "style"]


class Joined:
    """Joins sources, and tells their captions apart by a prompt of each source's name.

    An image that several have (one file) becomes one record with all their captions. Every split
    must be one in all sources: an image that one trains on must not be scored by another. Where two
    sources give different images one id, that of the later source has the source's name before it.

    Args:
        sources: by the name that a prompt asks for, such as "zh" or an author's.
        by: what the names are: "language" or "style".

    Raises:
        UserError: for no source, another ``by``, sources of several languages joined by style, and
            an image that stands in two splits.
    """

    def __init__(self, *, sources: Mapping[str, CaptionSource], by: By = "language") -> None:
        if by not in get_args(By):
            raise UserError(f"data.source.by={by!r}: {did_you_mean(str(by), get_args(By))}")
        if not sources:
            raise UserError("data.source.sources names no source")
        languages = list(dict.fromkeys(source.language for source in sources.values()))
        if by == "style" and len(languages) > 1:
            raise UserError(
                f"data.source.by=style joins captions of {' and '.join(languages)}: say by=language"
            )
        self._sources = {str(name): source for name, source in sources.items()}
        self._by = by
        self.language = "+".join(languages)
        names = {split for source in sources.values() for split in source.splits}
        standard = [split for split in STANDARD_SPLITS if split in names]
        self.splits: tuple[str, ...] = (*standard, *sorted(names - set(standard)))
        self._records: dict[str, list[CaptionRecord]] | None = None

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for a split that no source has."""
        if self._records is None:
            self._records = self._join()
        if split not in self._records:
            raise UserError(f"the data have no split {split!r}: {did_you_mean(split, self.splits)}")
        return self._records[split]

    def _join(self) -> dict[str, list[CaptionRecord]]:
        places: dict[str, str] = {}
        owners: dict[str, str] = {}  # stores of features know ids as text
        joined: dict[str, dict[str, CaptionRecord]] = {split: {} for split in self.splits}
        for name, source in self._sources.items():
            for split in source.splits:
                for record in source.records(split):
                    record = self._with_prompts(record, name)
                    place = _place(record, name)
                    if places.setdefault(place, split) != split:
                        raise UserError(
                            f"image {place} stands in the splits {places[place]!r} and {split!r} "
                            f"of data.source.sources: what is scored would be trained on"
                        )
                    known = joined[split].get(place)
                    if known is not None:
                        joined[split][place] = _merged(known, record)
                        continue
                    if owners.setdefault(str(record.image_id), place) != place:
                        record = replace(record, image_id=f"{name}-{record.image_id}")
                        _require_own_id(owners, record, place)
                    joined[split][place] = record
        return {split: list(records.values()) for split, records in joined.items()}

    def _with_prompts(self, record: CaptionRecord, name: str) -> CaptionRecord:
        given = record.prompts or (Prompt(),) * len(record.captions)
        if self._by == "language":
            prompts = tuple(replace(prompt, language=name) for prompt in given)
        else:
            prompts = tuple(replace(prompt, style=name) for prompt in given)
        return replace(record, prompts=prompts)


def _place(record: CaptionRecord, name: str) -> str:
    """Return what an image is the same by: its file, or the source's own id of what it draws."""
    if isinstance(record.image, Path):
        return os.path.abspath(record.image)
    return (
        str(record.image) if isinstance(record.image, PackedImage) else f"{name} {record.image_id}"
    )


def _require_own_id(owners: dict[str, str], record: CaptionRecord, place: str) -> None:
    owner = owners.setdefault(str(record.image_id), place)
    if owner != place:
        raise UserError(
            f"data.source.sources: the image id {record.image_id!r} is that of {owner} and of {place}"
        )


def _merged(first: CaptionRecord, second: CaptionRecord) -> CaptionRecord:
    return replace(
        first,
        captions=(*first.captions, *second.captions),
        prompts=(*first.prompts, *second.prompts),
    )
