"""The records of a data set's splits, with the policies for images that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.features.store import Features, FeatureStore, require_all
from captionlab.data.images.check import drop_broken
from captionlab.data.mixing import Extra
from captionlab.data.records import CaptionRecord, CaptionSource, drop_missing

# what to do where training needs a split that the data have not
WAYS_OUT = {
    "val": "; give some images this split (a table without a column 'split' is divided 80/10/10), "
    "or train without validation: trainer.limit_val_batches=0",
}


class SplitReader:
    """Reads each split of a source once.

    Args:
        name: what messages call the data. source: reads the records.
        missing_images: "error" or "skip". broken_images: the same.
        features: what is read in place of the images. extra: pairs of another source for training.
        prompts: whether records keep what is given before their captions.
    """

    def __init__(
        self,
        name: str,
        source: CaptionSource,
        *,
        missing_images: str,
        broken_images: str,
        features: Features | None,
        extra: Extra | None,
        prompts: bool = True,
    ) -> None:
        self.name = name
        self.source = source
        self.missing_images = missing_images
        self.broken_images = broken_images
        self.features = features
        self.extra = extra
        self.prompts = prompts
        self._records: dict[str, Sequence[CaptionRecord]] = {}
        self._added: list[CaptionRecord] | None = None

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return a split's records whose images can be read, the policies applied once.

        Raises:
            UserError: for an unknown or empty split, and for images the policies do not forgive.
        """
        if split not in self._records:
            if split not in self.source.splits:
                raise UserError(
                    f"{self.name} has no split {split!r}: {did_you_mean(split, self.source.splits)}"
                    f"{WAYS_OUT.get(split, '')}"
                )
            records = self._with_prompts(list(self.source.records(split)))
            if self.features is None:
                records = drop_missing(records, policy=self.missing_images, split=split)
                records = drop_broken(records, policy=self.broken_images, split=split)
            else:
                records = self._with_features(records, split)
            if not records:
                raise UserError(f"The split {split!r} of {self.name} is empty: no image is left.")
            self._records[split] = records
        return self._records[split]

    def training_records(self) -> Sequence[CaptionRecord]:
        """Return the training split's records, and behind them those of the extra source, if any.

        Raises:
            UserError: as ``records`` does.
        """
        own = self.records("train")
        if self.extra is None:
            return own
        if self._added is None:
            added = self._with_prompts(self.extra.records(self.source))
            added = drop_missing(added, policy=self.missing_images, split="extra")
            self._added = drop_broken(added, policy=self.broken_images, split="extra")
            if not self._added:
                raise UserError("data.extra is empty: no image is left.")
        return [*own, *self._added]

    def _with_prompts(self, records: list[CaptionRecord]) -> list[CaptionRecord]:
        if self.prompts or not any(record.prompts for record in records):
            return records
        return [replace(record, prompts=()) for record in records]

    def _with_features(self, records: list[CaptionRecord], split: str) -> list[CaptionRecord]:
        assert self.features is not None
        if self.missing_images == "skip":
            records = [record for record in records if record.image_id in self.features]
        require_all(self.features, records, split)
        if isinstance(self.features, FeatureStore):
            self.features.require_images(records)
        return records
