"""Words and ids, and the words a vocabulary must not be made of."""

import json

import pytest

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens
from captionlab.text.vocabulary import Vocabulary

COUNTS = {"dog": 9, "a": 20, "cat": 9, "runs": 5, "on": 6, "grass": 4, "red": 5}


def test_words_stand_by_count_then_alphabet_behind_the_specials():
    vocabulary = Vocabulary.from_counts(COUNTS, captions=20)
    assert vocabulary.tokens == (*SpecialTokens.TEXTS, "a", "cat", "dog", "on", "red", "runs")
    assert [vocabulary.id(token) for token in ("a", "runs", "grass")] == [4, 9, 3]


def test_the_order_of_counting_does_not_matter():
    backwards = dict(reversed(COUNTS.items()))
    assert Vocabulary.from_counts(COUNTS, captions=9) == Vocabulary.from_counts(
        backwards, captions=9
    )


def test_max_size_counts_the_specials():
    assert len(Vocabulary.from_counts(COUNTS, max_size=9, captions=20)) == 9
    with pytest.raises(UserError, match=r"data\.tokenizer\.max_size=8 is too small"):
        Vocabulary.from_counts(COUNTS, max_size=8, captions=20)


def test_a_word_that_looks_like_a_special_token_is_unknown():
    vocabulary = Vocabulary.from_counts({**COUNTS, "<eos>": 99}, captions=20)
    assert vocabulary.tokens.count("<eos>") == 1
    assert vocabulary.id("<eos>") == vocabulary.id("<pad>") == 3


def test_it_survives_json():
    vocabulary = Vocabulary.from_counts(COUNTS, captions=20)
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary


@pytest.mark.parametrize("entry", [{}, {"words": "abc"}, {"words": ["a", "a"]}, {"words": [1, 2]}])
def test_a_damaged_vocabulary_is_refused(entry):
    with pytest.raises(UserError, match="damaged"):
        Vocabulary.from_dict(entry)


def test_a_vocabulary_of_three_words_says_what_to_change():
    counts = {"dog": 7, "cat": 6, "a": 12, "bird": 2}
    with pytest.raises(UserError) as error:
        Vocabulary.from_counts(counts, threshold=5, captions=1234)
    message = str(error.value)
    for part in ("3 words", "5 is the least", "1,234", "threshold=5", "'a' 12, 'dog' 7", "Lower"):
        assert part in message


def test_no_words_at_all_points_to_the_captions():
    with pytest.raises(UserError, match="hold no words"):
        Vocabulary.from_counts({}, captions=3)


def test_a_threshold_below_one_is_refused():
    with pytest.raises(UserError, match=r"threshold=0 must be at least 1"):
        Vocabulary.from_counts(COUNTS, threshold=0, captions=20)


def test_the_report_counts_types_and_running_tokens():
    report = Vocabulary.from_counts(COUNTS, captions=20).report({"a": 6, "dog": 3, "zebra": 1})
    assert report.as_dict() == {
        "size": 10,
        "types": 3,
        "coverage": pytest.approx(2 / 3),
        "unknown": pytest.approx(0.1),
    }
    assert "\n" not in str(report)
    assert "66.7%" in str(report)
    assert "10.00%" in str(report)
