import numpy as np
import pytest

from captionlab.core.errors import UserError
from captionlab.metrics import CiderD, PreparedReferences

REFERENCES = {
    "a": ["a dog runs on grass", "a brown dog is running"],
    "b": ["two cats sleep on a bed", "cats sleep"],
    "c": ["a man rides a red bike", "a man on a bike", "man biking"],
}


@pytest.fixture
def prepared():
    return PreparedReferences(REFERENCES, str.split)


def test_several_captions_of_one_image_score_as_each_alone(prepared):
    cider = CiderD(prepared)
    ids = ["a", "a", "b", "a"]
    texts = ["a dog", "a dog runs fast", "cats sleep on grass", "bike"]
    together = cider(prepared.candidates(ids, texts))
    alone = [cider(prepared.candidates([i], [t]))[0] for i, t in zip(ids, texts, strict=True)]
    assert together.tolist() == alone
    tokens = [text.split() for text in texts]
    assert cider(prepared.tokenized_candidates(prepared.rows(ids), tokens)).tolist() == alone


def test_known_value_by_hand():
    # one word each, in one of two images: the unigram cosine is 1, higher orders are empty
    prepared = PreparedReferences({1: ["dog"], 2: ["cat"]}, str.split)
    scores = CiderD(prepared)(prepared.candidates([1, 2, 2], ["dog", "dog", "cat unseen"]))
    # two words of equal weight against one: cosine 1/sqrt(2), one bigram too many
    expected = [10 / 4, 0, 10 / 4 / np.sqrt(2) * np.exp(-1 / 72)]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_empty_caption_scores_zero(prepared):
    assert CiderD(prepared)(prepared.candidates(["a", "b"], ["", " "])).tolist() == [0, 0]
    assert CiderD(prepared)(prepared.candidates([], [])).shape == (0,)


def test_one_image_is_refused_with_the_reason():
    prepared = PreparedReferences({"a": ["a dog"]}, str.split)
    with pytest.raises(UserError, match=r"at least 2 images.*every caption would score 0"):
        CiderD(prepared)
