"""A second source of training pairs, such as images that a generative model made, and its share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.images.packed import PackedImage
from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.text.prompts import NO_PROMPT, Prompt


class Extra:
    """Pairs that join the training split of a data set, never those that are scored.

    An epoch holds every image of the data set once, and so many of ``source``'s training split,
    drawn anew each epoch, that they are ``share`` of the epoch's images. ``style`` keeps them apart:
    it is given before each of their captions, and a captioner of both asks for it. Raises UserError
    for a share that is not between 0 and 1.
    """

    def __init__(
        self, *, source: CaptionSource, share: float = 0.2, style: str | None = None
    ) -> None:
        if not 0 < share < 1:
            raise UserError(
                f"data.extra.share={share} must be between 0 and 1; data/extra=null is none"
            )
        self.source = source
        self.share = share
        self.style = style

    def records(self, own: CaptionSource) -> list[CaptionRecord]:
        """Return its training records, their ids told apart from those of the data set ``own``.

        Raises:
            UserError: if it has no training split, another language, or an image that ``own`` keeps
                for scoring.
        """
        language = own.language
        if self.source.language != language:
            raise UserError(
                f"data.extra is in {self.source.language!r} and the data in {language!r}: one "
                "captioner writes one language"
            )
        if "train" not in self.source.splits:
            raise UserError(
                f"data.extra has no split 'train': it has {', '.join(self.source.splits)}"
            )
        records = self.source.records("train")
        _require_unscored(records, own)
        return [
            replace(record, image_id=f"extra-{record.image_id}", prompts=self._prompts(record))
            for record in records
        ]

    def _prompts(self, record: CaptionRecord) -> tuple[Prompt, ...]:
        given = [
            prompt if prompt.id is None else replace(prompt, id=f"extra-{prompt.id}")
            for prompt in record.prompts
        ]
        if self.style is None:
            return tuple(given)
        given = given or [NO_PROMPT] * len(record.captions)
        return tuple(replace(prompt, style=str(self.style)) for prompt in given)


def _require_unscored(records: Sequence[CaptionRecord], own: CaptionSource) -> None:
    """Refuse images that the data set keeps for validation or test."""
    scored = {
        os.path.abspath(str(record.image)): split
        for split in own.splits
        if split != "train"
        for record in own.records(split)
        if isinstance(record.image, Path | PackedImage)
    }
    for record in records:
        split = (
            scored.get(os.path.abspath(str(record.image)))
            if isinstance(record.image, Path | PackedImage)
            else None
        )
        if split is not None:
            raise UserError(
                f"data.extra would train on {record.image}, which the data keep for their split "
                f"{split!r}: give data.extra.source other images"
            )
