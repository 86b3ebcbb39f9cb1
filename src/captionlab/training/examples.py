"""Captioned images of a scored split, for the gallery and the dashboards."""

from __future__ import annotations

from captionlab.data.dataset import CaptionDataset
from captionlab.metrics.caption_metrics import Scores
from captionlab.training.gallery import Example


def collect_examples(dataset: CaptionDataset, scores: Scores, count: int) -> list[Example]:
    """Return up to ``count`` examples, evenly spread over the split: the same ones every epoch."""
    stride = max(1, len(dataset) // count)
    examples = []
    for index in range(0, len(dataset), stride)[:count]:
        record = dataset.records[index]
        if record.image_id not in scores.captions:
            continue  # a run that was told to validate on a part of the split
        values = dict(scores.per_image[record.image_id])
        truth = values.pop("truth", None)
        examples.append(
            Example(
                image=dataset.image(index),
                image_id=record.image_id,
                caption=scores.captions[record.image_id],
                references=record.captions,
                scores=values,
                true=None if truth is None else bool(truth),
            )
        )
    return examples
