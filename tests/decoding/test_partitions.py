"""Words that a caption must hold, against a list of all captions."""

from __future__ import annotations

import itertools

import pytest
import torch
from test_beam import EVERYTHING, LENGTH, enumerate_captions, listed

from captionlab.core.errors import UserError
from captionlab.decoding import Beam

WORDS = {"dog": 3, "dogs": 4, "red": 5, "ball": 6}


def encode(text: str) -> list[int]:
    return [WORDS.get(text, 9)]


def search(model, *images: int, **settings):
    settings = {"beam_size": EVERYTHING, "max_length": LENGTH, **settings}
    return Beam(**settings)(model, model.memory(*images), encode=encode, **model.SPECIAL)


@pytest.mark.parametrize(
    "forced", [["red"], ["red", "ball"], [["dog", "dogs"], "ball"], ["dog", "red", "ball"]], ids=str
)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_forced_beam_equals_exhaustive_search_among_captions_that_hold_the_words(
    make_model, forced, penalty
):
    model = make_model(seed=1, spread=1.0)
    found = search(model, 4, 5, forced_words=forced, length_penalty=penalty, num_captions=2)
    asked = [[WORDS[w] for w in ([one] if isinstance(one, str) else one)] for one in forced]
    for row, image in enumerate((4, 5)):
        every = enumerate_captions(model, image, penalty, min_length=1)
        expected = [c for c in every if all(set(ids) & set(c[1]) for ids in asked)][:2]
        assert [tokens for _, tokens in listed(found, row)] == [tokens for _, tokens in expected]
        scores = [score for score, _ in expected]
        assert found.scores[row].tolist() == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_narrow_beam_finds_the_words_too(make_model, size):
    model = make_model(words=8, seed=2, spread=3.0)
    found = search(model, *range(20), beam_size=size, forced_words=["red", "ball"], max_length=8)
    for caption in found.tokens[:, 0].tolist():
        assert {5, 6} <= set(caption)


def test_a_batch_equals_its_images_alone(make_model):
    model = make_model(words=8, seed=3)
    settings = {"beam_size": 3, "forced_words": ["red"], "max_length": 7, "num_captions": 2}
    together = search(model, 1, 2, 3, **settings)
    for row, image in enumerate((1, 2, 3)):
        assert listed(search(model, image, **settings), 0) == listed(together, row)


def test_the_limits_hold_beside_forced_words(make_model):
    model = make_model(words=8, seed=3, spread=0.2)
    more = {"no_repeat_ngram": 1, "bad_endings": ["ball"], "beam_size": 4, "max_length": 8}
    found = search(model, *range(12), forced_words=["ball"], **more)
    for tokens, length in zip(found.tokens[:, 0].tolist(), found.lengths[:, 0], strict=True):
        words = tokens[: int(length)]
        assert 6 in words
        assert len(set(words)) == len(words)
        assert words[-2:] != [6, 2]


def test_where_no_caption_holds_all_words_most_of_them_are_there(make_model):
    model = make_model(seed=1)
    found = search(model, 7, forced_words=["dog", "red", "ball"], max_length=2, length_penalty=0.0)
    totals = {}
    for pair in itertools.permutations((3, 5, 6), 2):
        rows, _ = model.replay(7, list(pair))
        totals[pair] = sum(float(row[token]) for row, token in zip(rows, pair, strict=True))
    assert tuple(found.tokens[0, 0].tolist()) == max(totals, key=totals.__getitem__)


def test_scores_are_those_of_the_model(make_model):
    model = make_model(words=8, seed=5)
    found = search(model, 7, beam_size=3, forced_words=["red"], length_penalty=0.0)
    tokens = found.tokens[0, 0, : int(found.lengths[0, 0])].tolist()
    rows, _ = model.replay(7, tokens)
    total = sum(float(row[token]) for row, token in zip(rows, tokens, strict=True))
    assert float(found.log_probs[0, 0]) == pytest.approx(total, abs=1e-5)


def test_what_cannot_be_forced_is_said(make_model):
    model = make_model(seed=1)
    with pytest.raises(UserError, match=r"forced_words has 'red', which is forbidden as well"):
        search(model, 1, forced_words=["red"], forbidden_words=["red"])
    with pytest.raises(UserError, match=r"decoding\.forced_words='red' must be a list"):
        Beam(forced_words="red")
    with pytest.raises(UserError, match="5 is the most"):
        Beam(forced_words=list("abcdef"))
    with pytest.raises(UserError, match=r"decoding\.groups=1"):
        Beam(beam_size=4, num_captions=2, groups=2, forced_words=["red"])
    with pytest.raises(UserError, match="not one word of this vocabulary"):
        Beam(forced_words=["cat"])(
            model, model.memory(1), encode=encode, banned_ids=(9,), **model.SPECIAL
        )
    assert torch.isfinite(search(model, 1, forced_words=["red"]).scores).all()
