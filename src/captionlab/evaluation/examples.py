"""Captioned images of a scored split, for the gallery and the dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from captionlab.data.dataset import CaptionDataset
from captionlab.evaluation.attention_maps import lay_attention
from captionlab.evaluation.gallery import LARGEST_SIDE, Example
from captionlab.metrics.split_scorer import Scores

NO_ATTENTION = "this model tells no attention to parts of an image"
NO_PICTURE = "The image file is not there; the caption was made from stored features."


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
    """Return the ``chosen`` examples, their images in their own proportions.

    Args:
        looks: the words of captions and attention (T,N) for each; none of a model that tells none.
    """
    examples = []
    for index in chosen(dataset, count):
        record = dataset.records[index]
        if record.image_id not in scores.captions:
            continue  # a run that was told to validate on a part of the split
        values = dict(scores.per_image[record.image_id])
        truth = values.pop("truth", None)
        picture = dataset.picture(index, LARGEST_SIDE)
        shown = torch.full((3, 64, 64), 127, dtype=torch.uint8) if picture is None else picture
        words, weights = looks.get(record.image_id, ([], None))
        seen = (
            lay_attention(dataset, index, (shown.shape[1], shown.shape[2]), weights)
            if weights is not None
            else NO_ATTENTION
        )
        examples.append(
            Example(
                image=shown,
                image_id=record.image_id,
                caption=scores.captions[record.image_id],
                references=record.captions,
                scores=values,
                true=None if truth is None else bool(truth),
                attention=None if isinstance(seen, str) or not words else seen,
                words=words,
                unseen=seen if isinstance(seen, str) else "",
                remark=NO_PICTURE if picture is None else "",
            )
        )
    return examples
