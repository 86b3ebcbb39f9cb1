"""Scores that a data set brings along: means over the captions that have them."""

import json

import pytest

from captionlab.metrics import CaptionMetrics
from captionlab.metrics.bootstrap import intervals
from captionlab.metrics.own_scores import OwnScores
from ranks_support import run_ranks

REFERENCES = {i: ["a red dog runs", "the dog is running"] for i in range(6)}


def own_score(image_id, caption):
    """Words of a caption for even ids, whether it has a dog for all, a third score for none."""
    words = float(len(caption.split())) if image_id % 2 == 0 else None
    return {"words": words, "dog": float("dog" in caption), "never": None}


OWN = OwnScores(("words", "dog", "never", "unknown"), own_score)


def metrics_of(ids):
    metrics = CaptionMetrics(str.split, own=OWN)
    ids = list(ids)
    texts = [" ".join(["a", "dog", *["runs"] * i][: i + 1]) for i in ids]
    metrics.update(ids, texts, [REFERENCES[i] for i in ids])
    return metrics


def test_the_mean_is_over_the_captions_that_have_the_score():
    scores = metrics_of(range(6)).compute()
    assert scores.corpus["words"] == pytest.approx((1 + 3 + 5) / 3)
    assert scores.corpus["dog"] == pytest.approx(5 / 6)
    assert scores.per_image[2]["words"] == 3.0
    assert "words" not in scores.per_image[3]
    assert scores.per_image[3]["dog"] == 1.0
    assert not {"never", "unknown"} & scores.corpus.keys()


def test_intervals_draw_the_captions_with_and_without():
    scores = metrics_of(range(6)).compute()
    low, high = intervals(scores.statistics)["words"]
    assert 1 <= low < scores.corpus["words"] < high <= 5


def test_names_hold_them():
    assert {"words", "dog"} <= metrics_of([0]).names(sets=False)


def on_one_rank(rank, folder):
    scores = metrics_of(range(3) if rank == 0 else range(2, 6)).compute()
    own = {name: scores.corpus[name] for name in ("words", "dog")}
    (folder / f"{rank}.json").write_text(json.dumps([own, scores.per_image[4]]))


def test_two_ranks_score_as_one(tmp_path):
    run_ranks(on_one_rank, tmp_path)
    alone = metrics_of(range(6)).compute()
    own = {name: alone.corpus[name] for name in ("words", "dog")}
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [own, alone.per_image[4]]
