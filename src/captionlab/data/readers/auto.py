"""What lies in a folder, seen by its files; where two readings fit, the user chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from captionlab.core.errors import UserError
from captionlab.data.readers.auto_tables import Reading, SplitTables, first_rows, table_of
from captionlab.data.readers.coco import coco_files
from captionlab.data.readers.columns import Names
from captionlab.data.readers.datasets import Coco, Flickr8k, Flickr30k
from captionlab.data.readers.files import data_root, find, listed
from captionlab.data.readers.flickr import (
    SPLIT_LISTS,
    Flickr8kCN,
    Flickr8kPublished,
    flickr30k_files,
)
from captionlab.data.readers.image_folder import NAMES, ImageFolder
from captionlab.data.readers.karpathy import karpathy_files
from captionlab.data.readers.listing import list_files
from captionlab.data.readers.shard_readers import ParquetCaptions, SavedDataset
from captionlab.data.readers.sidecars import (
    ENDINGS,
    PascalSentences,
    Sidecars,
    parallel_texts,
)
from captionlab.data.readers.split_folders import split_of_file
from captionlab.data.readers.vqa import VqaV2, question_files
from captionlab.data.records import CaptionRecord, CaptionSource

# published data sets by their caption files
PUBLISHED: tuple[tuple[str, tuple[str, ...], Callable[..., CaptionSource]], ...] = (
    (
        "coco",
        (*karpathy_files("coco"), *coco_files("train", 2014), *coco_files("train", 2017)),
        Coco,
    ),
    ("flickr8k", (*karpathy_files("flickr8k"), *Flickr8kPublished.files), Flickr8k),
    ("flickr8k_cn", Flickr8kCN.files, Flickr8kCN),
    ("vqa_v2", question_files(), VqaV2),
    (
        "flickr30k",
        (
            *karpathy_files("flickr30k"),
            *flickr30k_files("results_20130124.token"),
            *flickr30k_files("results.csv"),
        ),
        Flickr30k,
    ),
)
TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".json")
Make = Callable[..., CaptionSource]
SAVED: Make = SavedDataset
IMAGE_FOLDER: Make = ImageFolder
PARQUET: Make = ParquetCaptions
PASCAL: Make = PascalSentences
SIDECARS: Make = Sidecars
SPLIT_TABLES: Make = SplitTables
Options = dict[str, object]


class Auto:
    """Whatever a folder holds: a published data set, a table, texts beside pictures, Parquet ...

    Each form has a reader of its own (data=table, data=sidecars ...); the log says in one line what
    was found. `file` names the file with the captions where there are several.

    Raises:
        UserError: if nothing fits, or more than one reading does, with the override for each.
    """

    LAYOUT: ClassVar[str] = (
        "pictures in any folders below ROOT, and a table of captions (CSV, JSON, text), a text beside "
        "each picture, metadata.jsonl, or Parquet files"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        file: str | None = None,
        image_column: str | None = None,
        caption_column: Names = None,
        question_column: str | None = None,
        answers_column: Names = None,
        style_column: str | None = None,
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        options: Options = {"root": str(folder), "language": language, "encoding": encoding}
        columns: Options = {
            "image_column": image_column,
            "caption_column": caption_column,
            "question_column": question_column,
            "answers_column": answers_column,
            "style_column": style_column,
        }
        if file is not None:
            reading = table_of(folder, file, columns, options)
        else:
            reading = _Look(folder, columns, options).only_reading(self.LAYOUT)
        self._source = reading.read()
        self.language = self._source.language
        self.splits = self._source.splits

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for a split that is unknown or empty."""
        return self._source.records(split)


class _Look:
    """A look at a folder: every way in which it can be read, and why a table cannot."""

    def __init__(self, root: Path, columns: Options, options: Options) -> None:
        self.root, self.columns, self.options = root, columns, options
        self.listing = list_files(root)
        self.refused: list[str] = []

    def only_reading(self, layout: str) -> Reading:
        """Return the one way to read the folder; UserError where there is none, or another."""
        readings = list(self._readings())
        if len(readings) == 1:
            return readings[0]
        if readings:
            ways = " or ".join(f"{one.form} ({one.override})" for one in readings[:4])
            raise UserError(
                f"data.root={self.root} can be read in {len(readings)} ways: {ways}: say which is "
                "meant"
            )
        if self.refused:
            raise UserError(self.refused[0])
        held = sorted(entry.name for entry in self.root.iterdir() if entry.name[0] != ".")
        raise UserError(
            f"data.root={self.root} holds no captions that are known "
            f"({listed(held, 6) or 'nothing'}); expected: {layout}"
        )

    def _readings(self) -> Iterator[Reading]:
        published = list(self._published())
        yield from published
        names = self.listing.files
        keys = ("image_column", "caption_column", "style_column")
        of_captions = {key: self.columns[key] for key in keys}
        shards = {key: self.options[key] for key in ("root", "language")} | of_captions
        if find(self.root, ("dataset_dict.json", "state.json")):
            yield Reading("a data set saved by `datasets`", "data=saved", partial(SAVED, **shards))
            return
        metadata = [name for name in names if PurePosixPath(name).name in NAMES]
        if metadata:
            read = partial(IMAGE_FOLDER, **self.options, **of_captions)
            yield Reading(f"an image folder with {metadata[0]}", "data=imagefolder", read)
        parquet = [name for name in names if name.endswith(".parquet") and name not in metadata]
        if parquet:
            form = f"Parquet files such as {parquet[0]}"
            yield Reading(form, "data=parquet", partial(PARQUET, **shards))
        texts = self._texts()
        yield from texts.readings
        if not published and not parquet:
            yield from self._tables({*texts.files, *metadata})

    def _published(self) -> Iterator[Reading]:
        for name, places, read in PUBLISHED:
            if find(self.root, places):
                # Flickr8k-CN is in Chinese, whatever the default language is
                language = {"language": "zh"} if name == "flickr8k_cn" else {}
                options = {**self.options, **language}
                yield Reading(f"{name} as published", f"data={name}", partial(read, **options))

    def _texts(self) -> _Texts:
        """Return the readings of texts beside pictures, or in a folder of their own."""
        pictures = self.listing.pictures()
        parallel = parallel_texts(self.listing)
        if parallel and 2 * len(parallel) >= len(pictures):
            reading = Reading("PASCAL sentences", "data=pascal", partial(PASCAL, **self.options))
            return _Texts([reading], set(parallel.values()))
        stems = {PurePosixPath(name).with_suffix("") for name in pictures}
        texts = {
            name: PurePosixPath(name).with_suffix("")
            for name in self.listing.files
            if name.endswith(ENDINGS) and PurePosixPath(name).with_suffix("") in stems
        }
        if not texts or 2 * len(set(texts.values())) < len(pictures):
            return _Texts([], set(texts))
        style = self.columns["style_column"]
        form = f"a text beside each picture, such as {next(iter(texts))}"
        reading = Reading(
            form, "data=sidecars", partial(SIDECARS, style_column=style, **self.options)
        )
        return _Texts([reading], set(texts))

    def _tables(self, others: set[str]) -> Iterator[Reading]:
        """Yield the readings of tables at the root, or if there are none, one folder down."""
        names = [
            name
            for name in self.listing.files
            if name.lower().endswith(TABLES)
            and name not in others
            and PurePosixPath(name).name not in SPLIT_LISTS.values()
        ]
        for depth in (0, 1):
            fitting = self._fitting([name for name in names if name.count("/") == depth])
            splits = [split_of_file(name) for name in fitting]
            if len(fitting) > 1 and None not in splits and len(set(splits)) == len(splits):
                form = f"a table for each split ({', '.join(fitting)})"
                files = dict(zip(fitting, splits, strict=True))
                read = partial(SPLIT_TABLES, files=files, **self.columns, **self.options)
                yield Reading(form, "data=auto", read)
            else:
                for name, kind in fitting.items():
                    yield table_of(self.root, name, self.columns, self.options, kind)
            if fitting:
                return

    def _fitting(self, names: Sequence[str]) -> dict[str, str]:
        """Return the kinds of the tables among files; of several only those whose images are there.

        All of them where no images are.
        """
        encoding = str(self.options["encoding"])
        starts = {
            name: start
            for name in names
            if (start := first_rows(self.root, name, self.columns, encoding, self.refused))
        }
        kinds = {name: start.kind for name, start in starts.items()}
        if len(starts) < 2:
            return kinds
        stems = {PurePosixPath(name).stem.lower() for name in self.listing.pictures()}
        with_images = {
            name: start.kind
            for name, start in starts.items()
            if any(
                PurePosixPath(row.image.replace("\\", "/")).stem.lower() in stems
                for row in start.rows
            )
        }
        return with_images or kinds


class _Texts(NamedTuple):
    readings: list[Reading]
    files: set[str]
