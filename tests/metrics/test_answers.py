"""Answers' scores, against what VQA's official script gave for a table of cases.

``vqa_cases.json`` was made by running that script (its last version, of 2021) unchanged under
Python 2.7: texts with what they are normalized to, and (answer, references, accuracy).
"""

import json
from pathlib import Path

import pytest

from captionlab.evaluation.score import score
from captionlab.metrics import CaptionMetrics, SplitScorer
from captionlab.metrics.answers import normalize_answer, vqa_accuracy
from captionlab.metrics.bootstrap import intervals
from captionlab.text.scoring import scoring_tokenizer

CASES = json.loads(Path(__file__).with_name("vqa_cases.json").read_text(encoding="utf-8"))
TEN = ["yes"] * 3 + ["no"] * 7


def test_answers_are_normalized_as_by_the_official_script():
    assert len(CASES["normalized"]) > 300
    for text, expected in CASES["normalized"]:
        assert normalize_answer(text) == expected, text


def test_accuracy_is_that_of_the_official_script():
    assert len(CASES["accuracy"]) > 150
    for answer, references, expected in CASES["accuracy"]:
        assert vqa_accuracy(answer, references) == pytest.approx(expected), (answer, references)


@pytest.mark.parametrize(("equal", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1)])
def test_ten_answers_give_tenths_up_to_three_and_one_from_four(equal, expected):
    references = ["yes"] * equal + ["no"] * (10 - equal)
    assert vqa_accuracy("yes", references) == pytest.approx(expected)


def test_a_single_reference_can_not_be_agreed_with():
    assert vqa_accuracy("yes", ["yes"]) == 0


def test_answers_are_scored_question_by_question_with_intervals():
    references = dict.fromkeys(range(40), TEN)
    answers = {i: "Yes." if i % 2 else "no" for i in range(40)}
    scores = SplitScorer(references, scoring_tokenizer("en"), answers=True)(answers)
    assert scores.per_image[0]["vqa_accuracy"] == pytest.approx(1.0)
    assert scores.per_image[1]["vqa_accuracy"] == pytest.approx(0.9)
    assert scores.corpus["vqa_accuracy"] == pytest.approx(0.95)
    assert scores.corpus["exact_match"] == 1.0
    low, high = intervals(scores.statistics)["vqa_accuracy"]
    assert 0.9 < low < 0.95 < high < 1.0


def test_exact_match_is_of_whole_answers_after_tokenization():
    references = {1: ["Two dogs."], 2: ["red"], 3: ["."], 4: ["a blue ring"]}
    answers = {1: "two dogs", 2: "dark red", 3: "", 4: "A blue ring!"}
    scores = SplitScorer(references, scoring_tokenizer("en"), answers=True)(answers)
    assert {i: one["exact_match"] for i, one in scores.per_image.items()} == {
        1: 1,
        2: 0,
        3: 0,
        4: 1,
    }


def test_vqa_accuracy_is_left_out_where_every_question_has_one_answer():
    scores = SplitScorer({1: ["yes"], 2: ["no"]}, str.split, answers=True)({1: "yes", 2: "yes"})
    assert scores.corpus["exact_match"] == 0.5
    assert "vqa_accuracy" not in scores.corpus


def test_captions_that_answer_nothing_have_no_such_score():
    metrics = CaptionMetrics(str.split)
    assert not {"exact_match", "vqa_accuracy"} & metrics.names(sets=True)
    answers = CaptionMetrics(str.split, answers=True)
    assert metrics.names(sets=True) | {"exact_match", "vqa_accuracy"} == answers.names(sets=True)


def test_answers_reach_the_scores_through_batches():
    metrics = CaptionMetrics(str.split, answers=True)
    metrics.update(["a", "b"], ["yes", "no"], [TEN, TEN])
    assert metrics.compute().corpus["vqa_accuracy"] == pytest.approx((0.9 + 1) / 2)


def test_scores_of_any_answers_are_had_by_hand():
    scores = score({1: "yes", 2: "two"}, {1: TEN, 2: ["2", "3"]}, answers=True)
    # of two references the script lets one third be reached at most, and that by half
    assert scores["vqa_accuracy"] == pytest.approx((0.9 + 1 / 6) / 2)
    assert scores["exact_match"] == 0.5
