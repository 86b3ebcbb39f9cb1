"""What is known of scores agrees with what is computed."""

from captionlab.metrics import CaptionMetrics
from captionlab.metrics.score_table import SCORES, in_order, score_info


def test_every_score_that_is_computed_is_listed():
    metrics = CaptionMetrics(
        str.split,
        truth=lambda *_: True,
        known=lambda _: True,
        answers=True,
        similarity=lambda *_: 1.0,
    )
    assert metrics.names(sets=True) - SCORES.keys() == set()


def test_a_score_that_is_not_listed_is_shown_behind_the_others():
    assert in_order({"zeal", "loss", "axis", "bleu_1"}) == ["bleu_1", "loss", "axis", "zeal"]
    assert score_info("zeal") == score_info("cider")
