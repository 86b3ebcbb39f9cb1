"""Bootstrap intervals, against resampling by hand and the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest

from captionlab.metrics.bootstrap import Statistic, difference, intervals
from captionlab.metrics.split_scorer import SplitScorer

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


def test_deviations_and_geometric_means_are_those_of_the_resample():
    values = RANDOM.normal(5.0, 2.0, size=400)
    deviation = Statistic(np.stack([values, values**2], 1), "deviation")
    assert deviation.score(deviation.values.sum(0, keepdims=True), 400)[0] == pytest.approx(
        values.std()
    )
    low, high = intervals({"x": deviation})["x"]
    assert low < values.std() < high
    # the standard error of a normal sample's deviation
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(800), rel=0.15)
    both = Statistic(np.tile([[4.0, 9.0]], (10, 1)), "geometric")
    assert intervals({"x": both})["x"] == pytest.approx((6.0, 6.0))


def test_the_words_in_use_are_counted_and_their_interval_holds_that_count():
    scorer = SplitScorer(REFERENCES, str.split)
    scores = scorer(CAPTIONS)
    words = {word for caption in CAPTIONS.values() for word in caption.split()}
    assert scores.corpus["vocabulary"] == len(words)
    low, high = intervals(scores.statistics)["vocabulary"]
    assert low < len(words) < high
    # many words that stand in every other image: a new sample would hold them all again
    common = Statistic(RANDOM.integers(0, 2, size=(200, 50)).astype(np.float32), "different")
    assert intervals({"x": common})["x"] == pytest.approx((50, 50), abs=0.1)


def test_the_words_of_a_huge_split_are_counted_without_an_interval(monkeypatch):
    scorer = SplitScorer(REFERENCES, str.split)
    expected = scorer(CAPTIONS).corpus["vocabulary"]
    monkeypatch.setattr("captionlab.metrics.split_scorer.MOST_PRESENCE", 100)
    scores = scorer(CAPTIONS)
    assert scores.corpus["vocabulary"] == expected
    assert "vocabulary" not in scores.statistics


def test_bleu_of_a_resample_is_that_of_its_captions():
    scorer = SplitScorer(REFERENCES, str.split)
    statistic = scorer(CAPTIONS).statistics["bleu_2"]
    some = [3, 3, 7, 12, 30]
    sums = statistic.values[some].sum(0, keepdims=True)
    again = {n: REFERENCES[i] for n, i in enumerate(some)}
    expected = SplitScorer(again, str.split)({n: CAPTIONS[i] for n, i in enumerate(some)})
    assert statistic.score(sums, 5)[0] == pytest.approx(expected.corpus["bleu_2"])
    assert intervals({}) == {}


def test_a_paired_difference_is_that_of_the_normal_approximation_of_the_pairs():
    easy = RANDOM.normal(0.0, 2.0, size=600)  # what both sides share
    first, second = (easy + RANDOM.normal(shift, 0.5, size=600) for shift in (0.2, 0.0))
    found = difference([Statistic(first[:, None])], [Statistic(second[:, None])], resamples=4000)
    gap = first - second
    half = 1.96 * gap.std() / np.sqrt(600)
    assert found.value == pytest.approx(gap.mean())
    assert found.low == pytest.approx(gap.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(gap.mean() + half, abs=0.1 * half)
    assert found.certain
    # unpaired, the two intervals would overlap
    alone = [intervals({"x": Statistic(side[:, None])})["x"] for side in (first, second)]
    assert alone[0][0] < alone[1][1]


def test_seeds_that_differ_more_than_the_sides_leave_it_open():
    base = RANDOM.normal(0.0, 0.1, size=(300, 1))
    runs = [Statistic(base + shift) for shift in (0.5, -0.4, 0.1)]
    others = [Statistic(base + shift) for shift in (0.3, -0.5, 0.0)]
    found = difference(runs, others)
    assert found.value == pytest.approx((0.2 + 0.2) / 3)
    assert not found.certain
    assert difference(runs[:1], others[:1]).certain


def test_other_images_cannot_be_paired():
    with pytest.raises(ValueError, match="cannot be paired"):
        difference([Statistic(np.ones((3, 1)))], [Statistic(np.ones((4, 1)))])
