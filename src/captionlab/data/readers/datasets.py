"""What data=coco, flickr8k, flickr30k read: Karpathy's split where present, else as published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from captionlab.data.readers.coco import CocoOfficial, coco_files
from captionlab.data.readers.files import data_root, require
from captionlab.data.readers.flickr import (
    CAPTIONS_TXT,
    Flickr8kCaptionsTxt,
    Flickr8kPublished,
    Flickr30kPublished,
    flickr30k_files,
)
from captionlab.data.readers.karpathy import Karpathy, karpathy_files
from captionlab.data.records import CaptionRecord, CaptionSource

logger = logging.getLogger(__name__)

Make = Callable[..., CaptionSource]


class _FirstPresent:
    """A data set that comes in several forms: reads the first whose caption file is there."""

    LAYOUT: ClassVar[str]
    dataset: ClassVar[str]
    # where a caption file may lie below the root -> what reads it, in order of preference
    published: ClassVar[Mapping[str, Make]]

    def __init__(
        self,
        *,
        root: str | None = None,
        restval_in_train: bool = True,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        karpathy = partial(Karpathy, dataset=self.dataset, restval_in_train=restval_in_train)
        readers: dict[str, Make] = dict.fromkeys(karpathy_files(self.dataset), karpathy)
        readers.update(self.published)
        file = require(folder, tuple(readers), what="caption file", layout=self.LAYOUT)
        logger.info("%s is read from %s", self.dataset, file)
        read = readers[file.relative_to(folder).as_posix()]
        self._source = read(root=root, encoding=encoding, language=language)
        self.language = self._source.language
        self.splits = self._source.splits

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for a split that is unknown or empty."""
        return self._source.records(split)


class Coco(_FirstPresent):
    """COCO by dataset_coco.json, else by the official files of 2014, else by those of 2017."""

    dataset = "coco"
    published: ClassVar[Mapping[str, Make]] = {
        place: partial(CocoOfficial, year=year)
        for year in (2014, 2017)
        for place in coco_files("train", year)
    }
    LAYOUT = (
        f"{Karpathy.LAYOUTS['coco']}; or {CocoOfficial.LAYOUT.replace('YEAR', '2014')}; "
        "or the same of 2017"
    )


class Flickr8k(_FirstPresent):
    """Flickr8k by dataset_flickr8k.json, else by Flickr8k.token.txt, else by captions.txt."""

    dataset = "flickr8k"
    published: ClassVar[Mapping[str, Make]] = {
        **dict.fromkeys(Flickr8kPublished.files, Flickr8kPublished),
        CAPTIONS_TXT: Flickr8kCaptionsTxt,
    }
    LAYOUT = (
        f"{Flickr8kPublished.LAYOUT}; or {Karpathy.LAYOUTS['flickr8k']}; or ROOT/{CAPTIONS_TXT}"
    )


class Flickr30k(_FirstPresent):
    """Flickr30k by dataset_flickr30k.json, else by results_20130124.token, else by results.csv."""

    dataset = "flickr30k"
    published: ClassVar[Mapping[str, Make]] = {
        place: partial(Flickr30kPublished, captions=name)
        for name in ("results_20130124.token", "results.csv")
        for place in flickr30k_files(name)
    }
    LAYOUT = f"{Flickr30kPublished.LAYOUT}; or {Karpathy.LAYOUTS['flickr30k']}"
