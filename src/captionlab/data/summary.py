"""What tells one data set from another: where it was read, how much there is, a digest of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from captionlab.core.config_types import Config
from captionlab.data.images.packed import PackedImage
from captionlab.data.records import CaptionRecord

# settings of a data module that change how it is loaded, and nothing of what is read
LOADING = ("batch_size", "num_workers", "cache_images", "tokenizer", "features_cache_gib")


def summarize(records: Sequence[CaptionRecord]) -> dict[str, object]:
    """Return the number of images and captions of a split, and a digest of names and captions.

    The digest holds prompts and the order too, and no folder: data that were moved are the same data.
    """
    digest = hashlib.sha256()
    for record in records:
        name = record.image.name if isinstance(record.image, Path | PackedImage) else ""
        digest.update("\x1f".join((repr(record.image_id), name, *record.captions)).encode())
        for prompt in record.prompts:
            digest.update(f"\x1d{prompt}".encode())
        digest.update(b"\x1e")
    return {**count(records), "digest": digest.hexdigest()[:16]}


def count(records: Sequence[CaptionRecord]) -> dict[str, int]:
    """Return the number of images and captions of a split."""
    return {
        "images": len(records),
        "captions": sum(len(record.captions) for record in records),
    }


def source_of(data: Config) -> Config:
    """Return the settings of a data configuration's source; none where a stranger's holds none."""
    source = data.get("source")
    return source if isinstance(source, Mapping) else {}


def origin(data: Config) -> str:
    """Return where a data configuration reads from: an absolute path, or that it is built in."""
    source = source_of(data)
    path = source.get("root") or source.get("file") or data.get("root")
    if path is None:
        return "built-in scenes" if "train_size" in source else source.get("_target_", "unknown")
    return os.path.abspath(os.path.expanduser(str(path)))


def differences(before: Config, now: Config) -> list[str]:
    """Return in words how the splits of one run's data differ from another's; empty if they do not.

    Args:
        before, now: ``{"origin": ..., "splits": {split: summary}}``.
    """
    changes = []
    old, new = before.get("splits", {}), now.get("splits", {})
    for split in {**old, **new}:
        if split not in old or split not in new:
            changes.append(f"{split} is {'new' if split in new else 'gone'}")
            continue
        counts = [
            f"{old[split][what]:,} {what} became {new[split][what]:,}"
            for what in ("images", "captions")
            if old[split][what] != new[split][what]
        ]
        if counts:
            changes.append(f"in {split} {' and '.join(counts)}")
        elif old[split]["digest"] != new[split]["digest"]:
            changes.append(f"{split} has other names, captions, or another order of them")
    return changes
