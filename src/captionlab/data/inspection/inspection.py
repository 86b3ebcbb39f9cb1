"""All that can be seen of a data set before training: facts, warnings, and what would make a score wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from captionlab.core.errors import UserError
from captionlab.data.images.packed import PackedImage
from captionlab.data.inspection.captions import (
    Lengths,
    markup,
    of_another_language,
    token_lengths,
)
from captionlab.data.inspection.pictures import (
    PictureFacts,
    describe_all,
    equal_groups,
    near_pairs,
    sizes,
)
from captionlab.data.inspection.result import Inspection, PicturesSeen, SplitSize
from captionlab.data.records import (
    STANDARD_SPLITS,
    CaptionRecord,
    CaptionSource,
    count_given,
    count_questions,
)
from captionlab.text.prompts import NO_PROMPT
from captionlab.text.tokenizers import Tokenizer

SAMPLES = 20
SHOWN = 5  # examples of each finding
SPLIT_NEEDS = {"train": 1, "val": 2, "test": 1}  # CIDEr weighs words over images: 2 at least

Fit = Callable[[Iterable[str]], Tokenizer]
Named = tuple[str, CaptionRecord]  # a record with its split


def inspect_source(
    source: CaptionSource, *, fit: Fit, max_length: int, seed: int = 0
) -> Inspection:
    """Return what is to be said of a data set.

    Args:
        fit: makes the tokenizer of the training captions. max_length: tokens kept of a caption.
        seed: chooses the samples.

    Raises:
        UserError: if the training captions give no tokenizer.
    """
    splits = {split: _records(source, split) for split in source.splits}
    inspection = Inspection()
    _counts(inspection, splits)
    _captions(inspection, splits, source.language)
    _tokens(inspection, splits, fit, max_length)
    _pictures(inspection, splits)
    named = [(split, record) for split, records in splits.items() for record in records]
    draw = random.Random(seed)
    inspection.samples = draw.sample(named, min(SAMPLES, len(named)))
    return inspection


def _records(source: CaptionSource, split: str) -> Sequence[CaptionRecord]:
    try:
        return source.records(split)
    except UserError:  # an empty split, which is one of the things to find
        return []


def _counts(inspection: Inspection, splits: Mapping[str, Sequence[CaptionRecord]]) -> None:
    for split, records in splits.items():
        captions = sum(len(record.captions) for record in records)
        inspection.splits[split] = SplitSize(
            len(records),
            captions,
            count_questions(records),
            styles=count_given(records, "style"),
            languages=count_given(records, "language"),
        )
    for split in STANDARD_SPLITS:
        count = len(splits.get(split, ()))
        if count >= SPLIT_NEEDS[split]:
            continue
        what = f"split {split!r} has {count} image" if count else f"split {split!r} is empty"
        if split not in splits:
            what = f"there is no split {split!r}"
        if split == "test":
            inspection.warnings.append(f"{what}: train with test=false, and score val")
        elif split == "val":
            inspection.problems.append(
                f"{what}: give 2 images or more this split, or train with trainer.limit_val_batches=0"
            )
        else:
            inspection.problems.append(f"{what}: there is nothing to train on")


def _captions(
    inspection: Inspection, splits: Mapping[str, Sequence[CaptionRecord]], language: str
) -> None:
    captions = [text for records in splits.values() for r in records for text in r.captions]
    marked = markup(captions)
    if marked:
        shown = _listed(f"{sign!r} in {text[:60]!r}" for text, sign in marked)
        inspection.warnings.append(f"{len(marked):,} captions hold markup: {shown}")
    others = of_another_language(captions, language)
    if others:
        shown = _listed(f"{text[:60]!r} ({other})" for text, other in others)
        way = "; is data.source.language right?" if 2 * len(others) > len(captions) else ""
        inspection.warnings.append(
            f"{len(others):,} captions are not in data.source.language={language}: {shown}{way}"
        )
    repeated = sum(_repeated(record) for records in splits.values() for record in records)
    if repeated:
        inspection.warnings.append(f"{repeated:,} captions stand twice at the same image")


def _repeated(record: CaptionRecord) -> int:
    """Return how many captions stand at an image already, in the same language and style."""
    prompts = record.prompts or (NO_PROMPT,) * len(record.captions)
    pairs = zip(prompts, record.captions, strict=True)
    # that ten people give one answer is the rule
    captions = [(prompt, text) for prompt, text in pairs if not prompt.question]
    return len(captions) - len(set(captions))


def _tokens(
    inspection: Inspection,
    splits: Mapping[str, Sequence[CaptionRecord]],
    fit: Fit,
    max_length: int,
) -> None:
    training = [text for record in splits.get("train", ()) for text in record.captions]
    if not training:
        return
    tokenizer = fit(training)
    lengths = Lengths.of(token_lengths(training, tokenizer), max_length)
    inspection.lengths = lengths
    inspection.vocabulary = tokenizer.report(training)
    for split, records in splits.items():
        texts = [text for record in records for text in record.captions]
        if split != "train" and texts:
            inspection.unknown[split] = tokenizer.report(texts).unknown
    if lengths.cut > lengths.captions // 20:
        inspection.warnings.append(
            f"{lengths.cutting} training captions: set it to {lengths.longest} or so"
        )


def _pictures(inspection: Inspection, splits: Mapping[str, Sequence[CaptionRecord]]) -> None:
    named = [
        (split, record)
        for split, records in splits.items()
        for record in records
        if isinstance(record.image, Path | PackedImage)
    ]
    if not named:
        inspection.drawn = any(splits.values())
        return
    images = [r.image for _, r in named if isinstance(r.image, Path | PackedImage)]
    facts = describe_all(images)
    extremes = sizes(facts)
    broken = [(one, of.broken) for one, of in zip(named, facts, strict=True) if of.broken]
    if extremes is not None:
        sound = len(facts) - len(broken)
        inspection.pictures = PicturesSeen.of(sound, len(broken), extremes)
    if broken:
        shown = _listed(f"{record.image} {reason}" for (_, record), reason in broken)
        inspection.warnings.append(
            f"{len(broken):,} pictures cannot be read: {shown}; data.broken_images=skip and "
            "data.missing_images=skip go on without them"
        )
    _duplicates(inspection, named, facts)


def _duplicates(
    inspection: Inspection, named: Sequence[Named], facts: Sequence[PictureFacts]
) -> None:
    groups = equal_groups(facts)
    across = [group for group in groups if len({named[place][0] for place in group}) > 1]
    within = [group for group in groups if group not in across]
    if across:
        shown = _listed(" = ".join(_places(named, group)) for group in across)
        inspection.problems.append(
            f"{len(across):,} pictures stand in two splits, so that what is scored was trained on: "
            f"{shown}; leave each in one"
        )
    if within:
        shown = _listed(" = ".join(_places(named, group)) for group in within)
        inspection.warnings.append(f"{len(within):,} pictures stand twice in a split: {shown}")
    near = near_pairs(facts)
    near_across = [pair for pair in near if named[pair[0]][0] != named[pair[1]][0]]
    if near:
        shown = _listed(" ~ ".join(_places(named, pair)) for pair in near_across or near)
        inspection.warnings.append(
            f"{len(near):,} pairs of pictures look alike, {len(near_across):,} of them across "
            f"splits: {shown}"
        )


def _places(named: Sequence[Named], places: Iterable[int]) -> list[str]:
    return [f"{named[place][0]} {named[place][1].image_id}" for place in list(places)[:4]]


def _listed(texts: Iterable[str]) -> str:
    findings = list(texts)
    more = f"; and {len(findings) - SHOWN:,} more" if len(findings) > SHOWN else ""
    return "; ".join(findings[:SHOWN]) + more
