from __future__ import annotations

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Greedy


def test_greedy_takes_the_most_probable_token_each_step(make_model):
    model, images = make_model(words=9, seed=1), (4, 8, 15)
    result = Greedy(max_length=10)(model, model.memory(*images), **model.SPECIAL)
    for row, image in enumerate(images):
        tokens = result.tokens[row, 0, : result.lengths[row, 0]].tolist()
        rows, looked = model.replay(image, tokens)
        rows_allowed = rows.clone()
        rows_allowed[:, : model.EOS] = -torch.inf
        rows_allowed[0, model.EOS] = -torch.inf
        assert tokens == rows_allowed.argmax(-1).tolist()
        expected = rows[range(len(tokens)), tokens].sum()
        torch.testing.assert_close(result.log_probs[row, 0], expected)
        torch.testing.assert_close(result.weights[row, 0, : len(tokens)], looked)


def test_captions_end_with_eos_or_are_cut_and_then_padded(make_model):
    model = make_model(words=5, seed=2)
    result = Greedy(max_length=6)(model, model.memory(*range(30)), **model.SPECIAL)
    for row, length in zip(
        result.tokens[:, 0].tolist(), result.lengths[:, 0].tolist(), strict=True
    ):
        assert model.EOS not in row[: length - 1]
        assert row[length - 1] == model.EOS or length == 6
        assert set(row[length:]) <= {model.PAD}
        assert not {model.PAD, model.BOS} & set(row[:length])
    assert result.tokens.shape[-1] == int(result.lengths.max())


def test_banned_token_and_early_end_never_occur(make_model):
    model = make_model(words=5, seed=3)
    model.table[:, [model.EOS, 4]] += 9.0
    greedy = Greedy(min_length=3, max_length=8)
    result = greedy(model, model.memory(*range(20)), **model.SPECIAL, banned_ids=[4])
    assert not (result.tokens == 4).any()
    assert (result.lengths == 4).all()


def test_log_probability_is_the_models_own_in_spite_of_a_ban(make_model):
    model = make_model(words=2, seed=4)
    model.table[:] = torch.tensor([0.0, 0.0, 0.5, 0.25, 0.25]).log()
    result = Greedy(max_length=2)(model, model.memory(1), **model.SPECIAL, banned_ids=[3])
    assert result.tokens.tolist() == [[[4, model.EOS]]]
    assert result.log_probs.item() == pytest.approx(torch.tensor(0.125).log().item())


def test_batch_equals_one_by_one(make_model):
    model, images = make_model(words=9, seed=5), (3, 1, 4, 15)
    together = Greedy()(model, model.memory(*images), **model.SPECIAL)
    for row, image in enumerate(images):
        alone = Greedy()(model, model.memory(image), **model.SPECIAL)
        end = alone.tokens.shape[-1]
        assert torch.equal(together.tokens[row, :, :end], alone.tokens[0])
        assert torch.equal(together.scores[row], alone.scores[0])


def test_loop_stops_when_every_caption_has_ended(make_model):
    model = make_model(seed=6)
    model.table[:, model.EOS] = 20.0
    result = Greedy(max_length=50)(model, model.memory(1, 2), **model.SPECIAL)
    assert model.steps == 2
    assert result.lengths.tolist() == [[2], [2]]


def test_one_id_for_bos_pad_and_eos_still_ends(make_model):
    model = make_model(words=5, seed=7)
    model.table[:, 2] += 2.0
    result = Greedy()(model, model.memory(*range(9)), bos_id=2, eos_id=2, pad_id=2)
    assert (result.lengths < 20).any()
    for row, length in zip(result.tokens[:, 0], result.lengths[:, 0], strict=True):
        assert not (row[: length - 1] == 2).any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_model_without_a_possible_token_ends_with_log_probability_minus_infinity(make_model, bad):
    model = make_model(seed=8)
    model.table[:] = bad
    result = Greedy()(model, model.memory(1, 2), **model.SPECIAL)
    assert result.tokens.tolist() == [[[model.EOS]]] * 2
    assert (result.scores == -torch.inf).all()


def test_no_gradient_is_recorded(make_model):
    model = make_model(seed=9)
    model.table.requires_grad_()
    result = Greedy()(model, model.memory(1), **model.SPECIAL)
    assert not result.scores.requires_grad


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"max_length": 0}, "decoding.max_length=0"),
        ({"max_length": "20"}, "decoding.max_length='20'"),
        ({"min_length": 21}, "decoding.min_length=21"),
    ],
)
def test_bad_value_is_refused_by_its_key(values, key):
    with pytest.raises(UserError, match=key):
        Greedy(**values)
