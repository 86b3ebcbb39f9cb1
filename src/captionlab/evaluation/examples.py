"""Captioned images of a scored split, for the gallery and the dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from captionlab.data.dataset import CaptionDataset
from captionlab.evaluation.attention_maps import AttentionMaps, attention_maps_of
from captionlab.evaluation.attention_trace import AttentionTrace
from captionlab.evaluation.gallery import LARGEST_SIDE, Example
from captionlab.metrics.split_scorer import Scores

NO_ATTENTION = "this model tells no attention to parts of an image"
NO_PICTURE = "The image file is not there; the caption was made from stored features."


def example_indices(dataset: CaptionDataset, count: int) -> list[int]:
    """Return up to ``count`` indices, evenly spread over the split: the same ones every epoch."""
    return list(range(0, len(dataset), max(1, len(dataset) // max(1, count))))[:count]


def example_ids(dataset: CaptionDataset, count: int) -> frozenset[int | str]:
    """Return the image ids of the examples: those whose attention will be shown."""
    return frozenset(dataset.records[index].image_id for index in example_indices(dataset, count))


def collect_examples(
    dataset: CaptionDataset,
    scores: Scores,
    count: int,
    traces: Mapping[int | str, AttentionTrace] = MappingProxyType({}),
) -> list[Example]:
    """Return up to ``count`` examples, their images in their own proportions.

    Args:
        traces: attention by image id; none of a model without attention.
    """
    return [
        _example(dataset, index, scores, traces.get(dataset.records[index].image_id))
        for index in example_indices(dataset, count)
        # a run can be limited to a part of the split
        if dataset.records[index].image_id in scores.captions
    ]


def _example(
    dataset: CaptionDataset, index: int, scores: Scores, trace: AttentionTrace | None
) -> Example:
    record = dataset.records[index]
    values = dict(scores.per_image[record.image_id])
    truth = values.pop("truth", None)
    picture = dataset.picture(index, LARGEST_SIDE)
    shown = torch.full((3, 64, 64), 127, dtype=torch.uint8) if picture is None else picture
    words = [] if trace is None else trace.words
    attention: AttentionMaps | str = NO_ATTENTION
    if trace is not None:
        size = (shown.shape[1], shown.shape[2])
        attention = attention_maps_of(dataset, index, size, trace.weights)
    return Example(
        image=shown,
        image_id=record.image_id,
        caption=scores.captions[record.image_id],
        references=record.captions,
        scores=values,
        true=None if truth is None else bool(truth),
        attention=None if isinstance(attention, str) or not words else attention,
        words=words,
        attention_missing=attention if isinstance(attention, str) else "",
        remark=NO_PICTURE if picture is None else "",
        asked=str(record.prompts[0]) if record.prompts else "",
    )
