"""A second source of training pairs, such as images that a generative model made, and its share."""

from __future__ import annotations

from dataclasses import replace

from captionlab.data.records import CaptionRecord, CaptionSource
from captionlab.errors import UserError


class Extra:
    """Pairs that join the training split of a data set, never those that are scored.

    An epoch holds every image of the data set once, and so many of ``source``'s training split,
    drawn anew each epoch, that they are ``share`` of the epoch's images. Raises UserError for a
    share that is not between 0 and 1.
    """

    def __init__(self, *, source: CaptionSource, share: float = 0.2) -> None:
        if not 0 < share < 1:
            raise UserError(
                f"data.extra.share={share} must be between 0 and 1; data/extra=null is none"
            )
        self.source = source
        self.share = share

    def records(self, language: str) -> list[CaptionRecord]:
        """Return its training records, their ids told apart from those of the data set.

        Raises:
            UserError: if it has no training split, or another language.
        """
        if self.source.language != language:
            raise UserError(
                f"data.extra is in {self.source.language!r} and the data in {language!r}: one "
                "captioner writes one language"
            )
        if "train" not in self.source.splits:
            raise UserError(
                f"data.extra has no split 'train': it has {', '.join(self.source.splits)}"
            )
        return [
            replace(record, image_id=f"extra-{record.image_id}")
            for record in self.source.records("train")
        ]
