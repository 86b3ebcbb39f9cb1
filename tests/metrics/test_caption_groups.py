"""A part of a split is scored as if it were a split of its own."""

from __future__ import annotations

import pytest

from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.metrics.groups import Group
from captionlab.metrics.split_scorer import SplitScorer
from captionlab.text.scoring import scoring_tokenizer

ENGLISH = {
    "a: en": ("A dog runs.", "One brown dog is running"),
    "b: en": ("Two cats sleep", "two cats are on a bed"),
    "c: en": ("a man on a horse", "a man rides a horse"),
}
CHINESE = {"a: zh": ("一只狗在跑", "棕色的狗"), "b: zh": ("两只猫在睡觉", "床上有两只猫")}
CAPTIONS = {"a: en": "a dog is running", "b: en": "two dogs", "c: en": "a man on a horse"} | {
    "a: zh": "一只狗",
    "b: zh": "两只猫在床上",
}


def is_true(image_id, caption: str) -> bool:
    return "dogs" not in caption


def metrics(**options) -> CaptionMetrics:
    def group(name: str) -> Group:
        def holds(image_id) -> bool:
            return str(image_id).endswith(name)

        return Group(name, scoring_tokenizer(name), holds)

    return CaptionMetrics(
        scoring_tokenizer("en+zh"), groups=[group("en"), group("zh"), group("de")], **options
    )


def collected(**options):
    one = metrics(**options)
    references = ENGLISH | CHINESE
    one.update(list(references), [CAPTIONS[i] for i in references], list(references.values()))
    return one.compute()


@pytest.mark.parametrize(("name", "references"), [("en", ENGLISH), ("zh", CHINESE)])
def test_a_group_has_the_scores_of_a_split_of_its_own(name: str, references):
    alone = SplitScorer(references, scoring_tokenizer(name))({i: CAPTIONS[i] for i in references})
    corpus = collected().corpus
    for score in ("bleu_1", "bleu_4", "rouge_l", "cider", "length", "vocabulary"):
        assert corpus[f"{name}/{score}"] == alone.corpus[score]
    assert corpus["bleu_1"] not in (corpus["en/bleu_1"], corpus["zh/bleu_1"])


def test_truth_of_a_group_is_the_mean_over_it():
    corpus = collected(truth=is_true).corpus
    assert corpus["truth"] == pytest.approx(4 / 5)
    assert corpus["en/truth"] == pytest.approx(2 / 3)
    assert corpus["zh/truth"] == 1.0


def test_the_names_are_those_that_are_announced_and_an_empty_group_has_none():
    one = metrics(truth=is_true, known=lambda caption: False)
    corpus = collected(truth=is_true, known=lambda caption: False).corpus
    announced = one.names(sets=False)
    assert set(corpus) == {name for name in announced if not name.startswith("de/")}


def test_groups_change_no_score_of_the_whole():
    plain = CaptionMetrics(scoring_tokenizer("en+zh"))
    references = ENGLISH | CHINESE
    plain.update(list(references), [CAPTIONS[i] for i in references], list(references.values()))
    whole = plain.compute().corpus
    assert {name: collected().corpus[name] for name in whole} == whole


@pytest.mark.filterwarnings("ignore:CIDEr is left out")
def test_a_group_of_one_image_has_no_cider_of_the_whole():
    one = metrics()
    references = {"a: en": ENGLISH["a: en"]} | CHINESE
    one.update(list(references), [CAPTIONS[i] for i in references], list(references.values()))
    corpus = one.compute().corpus
    assert "zh/cider" in corpus
    assert "en/bleu_1" in corpus
    assert "en/cider" not in corpus
