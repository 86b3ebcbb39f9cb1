"""What every reader hands on: one record an image, grouped in named splits."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from captionlab.core.addresses import holds_address
from captionlab.core.errors import UserError, did_you_mean
from captionlab.data.images.packed import PackedImage
from captionlab.text.prompts import Prompt

logger = logging.getLogger(__name__)

Given = Literal["language", "style"]
STANDARD_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """One image with its captions.

    `image` is a file, lies in one, or draws an (h, w, 3) uint8 array. `prompts`: what is given before
    each caption, one a caption, or none at all where nothing is given before any. `picture_id`: the
    id of the image where `image_id` is that of one of its questions, else None.
    """

    image_id: int | str
    image: Path | PackedImage | Callable[[], np.ndarray]
    captions: tuple[str, ...]
    prompts: tuple[Prompt, ...] = ()
    picture_id: int | str | None = None

    @property
    def stored_id(self) -> int | str:
        """The id of its image, under which features are stored."""
        return self.image_id if self.picture_id is None else self.picture_id


class CaptionSource(Protocol):
    """A data set: its language, such as "en", its splits, and the records of each."""

    language: str
    splits: tuple[str, ...]

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for a split that is not there."""
        ...


class Entry(NamedTuple):
    """One image as a file describes it: captions not cleaned yet, `image` maybe without a file."""

    split: str
    image_id: int | str
    image: Path | PackedImage
    captions: Sequence[str]
    where: str = ""  # its place in the file, for a sentence about it
    prompts: Sequence[Prompt] = ()  # one a caption, or none


class Reader:
    """A caption data set held in memory: the base of all file readers.

    Captions keep their text; white space of any kind (line breaks, U+2028, tabs) becomes one blank,
    because coco-caption's tools shift or hang on anything else. Empty captions are dropped, and an
    image that loses all of its captions goes with them; one log line says how many.

    Raises:
        UserError: if an image, or the id of one, stands in two splits: a score of one would then be
            a score of what the captioner was trained on.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        language: str,
        origin: Path,
        splits: Sequence[str] = (),
    ) -> None:
        self.language = language
        self._origin = origin
        self._groups: dict[str, list[CaptionRecord]] = {split: [] for split in splits}
        empty = lost = 0
        by_id: dict[int | str, Entry] = {}
        by_file: dict[str, Entry] = {}
        for entry in entries:
            _require_one_split(entry, by_id.setdefault(entry.image_id, entry), "image id")
            _require_one_split(entry, by_file.setdefault(_place(entry.image), entry), "image")
            texts = [" ".join(text.split()) for text in entry.captions]
            captions = tuple(filter(None, texts))
            prompts = tuple(
                _cleaned(prompt) for prompt, text in zip(entry.prompts, texts, strict=False) if text
            )
            empty += len(entry.captions) - len(captions)
            group = self._groups.setdefault(entry.split, [])
            if captions:
                group.append(CaptionRecord(entry.image_id, entry.image, captions, prompts))
            else:
                lost += 1
        if empty:
            logger.warning(
                "%s: %d empty captions dropped, and %d images that had no other",
                origin,
                empty,
                lost,
            )
        standard = [split for split in STANDARD_SPLITS if split in self._groups]
        others = sorted(set(self._groups) - set(standard))
        self.splits: tuple[str, ...] = (*standard, *others)

    def announce(self, form: str, division: str = "") -> None:
        """Say in one line of the log what was read: its form, its pictures, captions and splits."""
        groups = self._groups.values()
        captions = sum(len(record.captions) for group in groups for record in group)
        questions = sum(count_questions(group) for group in groups)
        written = f"{captions:,} captions"
        if questions:
            written = f"{questions:,} questions, {captions:,} answers"
        styles = len({name for group in groups for name in count_given(group, "style")})
        if styles:
            written += f" in {styles:,} style{'s' if styles > 1 else ''}"
        splits = ", ".join(f"{name} {len(self._groups[name]):,}" for name in self.splits)
        logger.info(
            "%s: %s; %s pictures, %s; %s%s",
            self._origin,
            form,
            f"{sum(map(len, groups)):,}",
            written,
            splits,
            f" ({division})" if division else "",
        )

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for a split that is unknown or empty."""
        counts = ", ".join(f"{name} {len(self._groups[name]):,}" for name in self.splits)
        if split not in self._groups:
            hint = did_you_mean(split, self.splits)
            raise UserError(f"{self._origin} has no split {split!r}: {hint} (images: {counts})")
        if not self._groups[split]:
            raise UserError(f"split {split!r} of {self._origin} is empty (images: {counts})")
        return self._groups[split]


def count_questions(records: Iterable[CaptionRecord]) -> int:
    """Return the number of questions that captions of these images answer."""
    return sum(len({one for one in record.prompts if one.question}) for record in records)


def count_given(records: Iterable[CaptionRecord], what: Given) -> Counter[str]:
    """Return how many captions of these images are asked for in each language, or in each style."""
    names = (getattr(prompt, what) for record in records for prompt in record.prompts)
    return Counter(filter(None, names))


def _cleaned(prompt: Prompt) -> Prompt:
    question = " ".join(prompt.question.split())
    # ten answers share one prompt, and go on to
    return prompt if question == prompt.question else replace(prompt, question=question)


def _place(image: Path | PackedImage) -> str:
    return os.path.normpath(image) if isinstance(image, Path) else str(image)


def _require_one_split(entry: Entry, first: Entry, what: str) -> None:
    if entry.split == first.split:
        return
    value = repr(entry.image_id) if what == "image id" else entry.image
    places = (f"{one.split!r}{f' ({one.where})' if one.where else ''}" for one in (first, entry))
    raise UserError(
        f"{what} {value} stands in two splits, {' and '.join(places)}: "
        "leave it in one, or what is scored was trained on"
    )


def hash_split(names: Iterable[str]) -> dict[str, str]:
    """Return name -> "train" | "val" | "test", 80/10/10 in the order of the names' MD5.

    The same names give the same split on every machine; from 3 names on no split is empty.
    """
    ordered = sorted(set(names), key=_digest)
    held_out = _tenth(len(ordered))
    return {
        name: "val" if place < held_out else "test" if place < 2 * held_out else "train"
        for place, name in enumerate(ordered)
    }


def hashed_tenth(names: Iterable[str]) -> list[str]:
    """Return a tenth of the names, the first in the order of their MD5; none of fewer than 3."""
    ordered = sorted(set(names), key=_digest)
    return ordered[: _tenth(len(ordered))]


def _tenth(count: int) -> int:
    return max(1, round(count / 10)) if count >= 3 else 0


def _digest(name: str) -> bytes:
    return hashlib.md5(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()


def drop_missing(
    records: Sequence[CaptionRecord], *, policy: str = "error", split: str = "train"
) -> list[CaptionRecord]:
    """Return the records whose image file exists; drawn images always do.

    Raises:
        UserError: with policy "error", if any is missing: how many, and the first five; with
            policy "skip" (which logs their number), if none is left; for another policy.
    """
    folders: dict[Path, set[str]] = {}
    missing: dict[Path | PackedImage, str] = {}
    for record in records:
        path = record.image
        if not isinstance(path, Path):
            continue
        # one listing a folder: a question for each of 118,287 files takes minutes on a network disk
        if path.parent not in folders:
            folders[path.parent] = (
                set(os.listdir(path.parent)) if os.path.isdir(path.parent) else set()
            )
        if path.name not in folders[path.parent]:
            missing[path] = "(an address: download it first)" if holds_address(path) else ""
    return keep_records(records, missing, what="missing", policy=policy, split=split)


def keep_records(
    records: Sequence[CaptionRecord],
    bad: Mapping[Path | PackedImage, str],
    *,
    what: str,
    policy: str,
    split: str,
) -> list[CaptionRecord]:
    """Return the records whose image is not `bad` (image -> reason), if the policy allows.

    Raises:
        UserError: as `drop_missing` says; `what` is "missing" or "broken", as in data.WHAT_images.
    """
    key = f"data.{what}_images"
    if policy not in ("error", "skip"):
        raise UserError(f"{key}={policy}: {did_you_mean(policy, ('error', 'skip'))}")
    kept = [
        record
        for record in records
        if not (isinstance(record.image, Path | PackedImage) and record.image in bad)
    ]
    lost = len(records) - len(kept)
    if not lost:
        return kept
    share = f"{lost:,} of the {len(records):,} images of split {split!r} are {what}"
    first = "; ".join(f"{path} {reason}".rstrip() for path, reason in list(bad.items())[:5])
    more = "; ..." if len(bad) > 5 else ""
    if policy == "error":
        raise UserError(f"{share}: {first}{more} (set {key}=skip to go on without them)")
    if not kept:
        raise UserError(f"{share}, so {key}=skip leaves nothing: {first}{more}")
    logger.warning("%s=skip: %s; %s are left", key, share, f"{len(kept):,}")
    return kept
