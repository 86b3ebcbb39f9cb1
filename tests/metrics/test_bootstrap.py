"""Bootstrap intervals, against resampling by hand and the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest

from captionlab.metrics.bootstrap import Statistic, intervals
from captionlab.metrics.caption_metrics import SplitScorer

RANDOM = np.random.default_rng(0)
REFERENCES = {i: [f"a red dog {i}", "the dog runs fast over there"] for i in range(40)}
CAPTIONS = {i: "a red dog runs" if i % 3 else f"the dog {i}" for i in range(40)}


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = RANDOM.normal(2.0, 1.0, size=(800, 1))
    low, high = intervals({"x": Statistic(values)}, resamples=4000)["x"]
    half = 1.96 * values.std() / np.sqrt(800)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_ratios_are_resampled_as_sums():
    counts = RANDOM.integers(1, 20, size=300)
    values = np.column_stack([2.0 * counts, counts])
    assert intervals({"x": Statistic(values, "ratio")})["x"] == pytest.approx((2.0, 2.0))


def test_every_score_lies_within_its_interval():
    scores = SplitScorer(REFERENCES, str.split)(
        CAPTIONS, {i: [c, "dogs"] for i, c in CAPTIONS.items()}
    )
    found = intervals(scores.statistics)
    for name in ("bleu_1", "bleu_4", "rouge_l", "cider", "div_1", "mbleu", "self_cider"):
        low, high = found[name]
        assert low <= scores.corpus[name] <= high
    assert found["cider"][0] < found["cider"][1]


def test_bleu_of_a_resample_is_that_of_its_captions():
    scorer = SplitScorer(REFERENCES, str.split)
    statistic = scorer(CAPTIONS).statistics["bleu_2"]
    some = [3, 3, 7, 12, 30]
    sums = statistic.values[some].sum(0, keepdims=True)
    again = {n: REFERENCES[i] for n, i in enumerate(some)}
    expected = SplitScorer(again, str.split)({n: CAPTIONS[i] for n, i in enumerate(some)})
    assert statistic.score(sums, 5)[0] == pytest.approx(expected.corpus["bleu_2"])
    assert intervals({}) == {}
