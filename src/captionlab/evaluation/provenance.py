"""What a page of captions is about, in words: which data, which checkpoint, which decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from captionlab.core.config_types import Config


def describe_data(
    read: Config, split: str, *, scored: int | None = None, features: object = None
) -> str:
    """Return which data captions were made of.

    Args:
        read: ``name`` and ``origin``, ``images`` and ``captions`` of the split (``data.summary``);
            what is not known is left out.
        scored: of how many images there are captions. features: what was read in place of images.
    """
    parts = [f"{read.get('name', 'unnamed')}, split {split}"]
    images, captions = read.get("images"), read.get("captions")
    if type(images) is int and type(captions) is int:  # a stranger's file may hold anything
        some = f"{scored:,} of " if scored is not None and scored < images else ""
        parts.append(f"{some}{images:,} images with {captions:,} captions")
    if read.get("origin"):
        parts.append(f"from {read['origin']}")
    if features is not None:
        parts.append(f"seen through {features}")
    return ", ".join(parts)


def describe_checkpoint(files: Sequence[tuple[str | Path, int]]) -> str:
    """Return which checkpoint wrote captions, or which ones together: paths and finished epochs."""
    return " with ".join(f"{Path(path).absolute()} (epoch {epochs})" for path, epochs in files)


def describe_decoding(decoding: object) -> str:
    """Return a decoding's name and settings, of the built part or of its configuration."""
    settings: Config
    if isinstance(decoding, Mapping):
        name = str(decoding.get("_target_", "unknown")).rpartition(".")[2]
        settings = {key: value for key, value in decoding.items() if not key.startswith("_")}
    elif isinstance(decoding, partial):
        name, settings = getattr(decoding.func, "__name__", "unknown"), decoding.keywords
    else:
        name, settings = type(decoding).__name__, getattr(decoding, "__dict__", {})
    words = [f"{key}={value}" for key, value in sorted(settings.items()) if _has_effect(value)]
    return ", ".join([name.lower(), *words])


def _has_effect(value: object) -> bool:
    """Return whether a setting does anything: nothing, no and an empty list do not."""
    return value is not None and value is not False and value not in ((), [])
