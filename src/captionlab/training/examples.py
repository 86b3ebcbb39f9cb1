"""Captioned images of a scored split, for the gallery and the dashboards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from captionlab.data.dataset import CaptionDataset
from captionlab.metrics.caption_metrics import Scores
from captionlab.training.gallery import Example


def chosen(dataset: CaptionDataset, count: int) -> list[int]:
    """Return up to ``count`` indices, evenly spread over the split: the same ones every epoch."""
    return list(range(0, len(dataset), max(1, len(dataset) // max(1, count))))[:count]


def watched(dataset: CaptionDataset, count: int) -> frozenset[int | str]:
    """Return the image ids of the ``chosen``: those whose attention will be shown."""
    return frozenset(dataset.records[index].image_id for index in chosen(dataset, count))


def collect_examples(
    dataset: CaptionDataset,
    scores: Scores,
    count: int,
    looks: Mapping[int | str, tuple[list[str], Tensor]] = MappingProxyType({}),
) -> list[Example]:
    """Return the ``chosen`` examples.

    Args:
        looks: the words of captions and attention (T,N) for each; shown where N is a square grid.
    """
    examples = []
    for index in chosen(dataset, count):
        record = dataset.records[index]
        if record.image_id not in scores.captions:
            continue  # a run that was told to validate on a part of the split
        values = dict(scores.per_image[record.image_id])
        truth = values.pop("truth", None)
        words, maps = as_maps(*looks.get(record.image_id, ([], None)))
        examples.append(
            Example(
                image=dataset.image(index),
                image_id=record.image_id,
                caption=scores.captions[record.image_id],
                references=record.captions,
                scores=values,
                true=None if truth is None else bool(truth),
                attention=maps,
                words=words,
            )
        )
    return examples


def as_maps(words: list[str], weights: Tensor | None) -> tuple[list[str], Tensor | None]:
    """Return attention (T,N) as maps (T,n,n); nothing where N is no square of at least 2 x 2."""
    side = 0 if weights is None else math.isqrt(weights.shape[-1])
    if weights is None or not words or side < 2 or side**2 != weights.shape[-1]:
        return [], None
    return words, weights.unflatten(-1, (side, side))
