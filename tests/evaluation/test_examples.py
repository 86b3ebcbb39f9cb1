"""Which images a gallery shows, and as what."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captionlab.data.dataset import CaptionDataset
from captionlab.data.features.regions import open_features
from captionlab.data.records import CaptionRecord
from captionlab.evaluation.attention_trace import AttentionTrace
from captionlab.evaluation.examples import (
    NO_ATTENTION,
    NO_PICTURE,
    collect_examples,
    example_indices,
)
from captionlab.metrics.split_scorer import Scores
from captionlab.text.tokenizers import WordTokenizer


def test_examples_are_spread_over_the_split():
    assert example_indices(range(10), 3) == [0, 3, 6]
    assert example_indices(range(2), 5) == [0, 1]
    assert example_indices(range(4), 0) == []


def split(folder: Path, **how) -> tuple[CaptionDataset, Scores]:
    """Return a split of a tall and a wide photograph, and one that is not there, with scores."""
    Image.new("RGB", (300, 900), "red").save(folder / "tall.png")
    Image.new("RGB", (90, 30), "red").save(folder / "wide.png")
    names = [name for name in ("tall", "wide", "gone") if how or name != "gone"]
    records = [CaptionRecord(name, folder / f"{name}.png", ("a dog",)) for name in names]
    words = WordTokenizer.fit(["one dog runs on grass"], threshold=1)
    scores = Scores({}, {name: {} for name in names}, dict.fromkeys(names, "a dog"))
    return CaptionDataset(records, words, image_size=32, **how), scores


def test_images_keep_their_proportions(tmp_path: Path):
    examples = collect_examples(*split(tmp_path), 9)
    assert [tuple(one.image.shape) for one in examples] == [(3, 320, 107), (3, 30, 90)]
    assert [one.attention_missing for one in examples] == [NO_ATTENTION] * 2


def test_a_square_grid_is_shown_and_what_is_none_is_not(tmp_path: Path):
    dataset, scores = split(tmp_path)
    traces = {
        "tall": AttentionTrace(["a"], torch.ones(1, 16)),
        "wide": AttentionTrace(["a"], torch.ones(1, 15)),
    }
    tall, wide = collect_examples(dataset, scores, 9, traces)
    assert tall.attention.maps.shape == (1, 4, 4)
    assert (wide.attention, "15 memory slots" in wide.attention_missing) == (None, True)
    # an empty caption has no words to show attention for: that is no reason to tell
    tall, _ = collect_examples(dataset, scores, 9, {"tall": AttentionTrace([], torch.ones(0, 16))})
    assert (tall.attention, tall.attention_missing) == (None, "")


def test_an_image_that_is_not_there_is_gray_and_said(tmp_path: Path):
    for name in ("tall", "wide", "gone"):
        np.savez(tmp_path / f"{name}.npz", feat=np.ones((2, 4)), bbox=np.ones((2, 4)))
    *there, gone = collect_examples(*split(tmp_path, features=open_features(tmp_path)), 9)
    assert [one.remark for one in there] == ["", ""]
    assert gone.remark == NO_PICTURE
    assert gone.image.unique().tolist() == [127]
