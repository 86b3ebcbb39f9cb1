from __future__ import annotations

import math

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Greedy, Sampling
from captionlab.decoding.sampling import noise_of

PROBABILITIES = torch.tensor([0.05, 0.5, 0.1, 0.25, 0.1])


def frequencies(sampling, probabilities, count=40_000):
    """How often each token is drawn from one known distribution, with a fixed seed."""
    logits = probabilities.log().expand(1, count, -1)
    ids = sampling.draw(logits, torch.Generator().manual_seed(0))
    return torch.bincount(ids.flatten(), minlength=len(probabilities)) / count


def test_tokens_are_drawn_as_often_as_they_are_probable():
    # 40,000 draws: the standard error of a frequency is at most 0.0025
    torch.testing.assert_close(
        frequencies(Sampling(), PROBABILITIES), PROBABILITIES, atol=0.01, rtol=0
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_sharpens_or_flattens(temperature):
    expected = (PROBABILITIES.log() / temperature).softmax(0)
    drawn = frequencies(Sampling(temperature=temperature), PROBABILITIES)
    torch.testing.assert_close(drawn, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(("top_k", "kept"), [(1, [1]), (2, [1, 3]), (9, [0, 1, 2, 3, 4])])
def test_top_k_draws_from_the_k_most_probable(top_k, kept):
    expected = torch.zeros(5)
    expected[kept] = PROBABILITIES[kept] / PROBABILITIES[kept].sum()
    drawn = frequencies(Sampling(top_k=top_k), PROBABILITIES)
    torch.testing.assert_close(drawn, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1e-9, 1),
        (0.49, 1),
        (0.5, 1),
        (0.51, 2),
        (0.75, 2),
        (0.7501, 3),
        (0.9, 3),
        (0.91, 4),
        (1.0, 4),
    ],
)
def test_nucleus_is_the_smallest_set_that_reaches_p(top_p, kept):
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.1])
    expected = probabilities.clone()
    expected[kept:] = 0
    drawn = frequencies(Sampling(top_p=top_p), probabilities)
    assert int((drawn > 0).sum()) == kept
    torch.testing.assert_close(drawn, expected / expected.sum(), atol=0.01, rtol=0)


def test_top_p_counts_within_top_k():
    # the two most probable become 2/3 and 1/3: 0.6 keeps one, of all five it would keep two
    assert frequencies(Sampling(top_k=2, top_p=0.6), PROBABILITIES)[1] == 1
    assert (frequencies(Sampling(top_p=0.6), PROBABILITIES) > 0).sum() == 2


@pytest.mark.parametrize("number", [0, 2**29, 2**30 - 1, 2**31 - 1])
def test_no_random_number_draws_an_impossible_token(monkeypatch, number):
    monkeypatch.setattr(torch, "randint", lambda high, size, **_: torch.full(size, number))
    logits = torch.tensor([[[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]]])
    for sampling in (Sampling(), Sampling(top_p=0.9), Sampling(top_k=4)):
        assert sampling.draw(logits).item() in (1, 3)


def test_low_temperature_is_greedy(make_model):
    model = make_model(words=30, seed=1)
    memory = model.memory(*range(20))
    greedy = Greedy()(model, memory, **model.SPECIAL)
    for temperature in (1e-3, 1e-30, 1e-300):
        sampled = Sampling(temperature=temperature, seed=0)(model, memory, **model.SPECIAL)
        assert torch.equal(sampled.tokens, greedy.tokens)
        assert torch.equal(sampled.log_probs, greedy.log_probs)


def test_captions_are_drawn_with_the_models_probability(make_model):
    model = make_model(words=2, seed=2, spread=1.0)
    sampling = Sampling(num_samples=20_000, max_length=2, min_length=0, seed=1)
    model.table[:, :2] = -torch.inf
    result = sampling(model, model.memory(3), **model.SPECIAL)
    captions, counts = result.tokens[0].unique(dim=0, return_counts=True)
    assert len(captions) == 1 + 2 * 3
    for caption, count in zip(captions.tolist(), counts.tolist(), strict=True):
        tokens = [token for token in caption if token != model.PAD]
        rows, _ = model.replay(3, tokens)
        probability = float(rows[range(len(tokens)), tokens].sum().exp())
        assert count / 20_000 == pytest.approx(probability, abs=0.015)


def test_seed_repeats_every_call_and_no_seed_follows_torch(make_model):
    model = make_model(words=30, seed=3)
    memory = model.memory(*range(4))
    seeded, free = Sampling(seed=7, num_samples=3), Sampling(num_samples=3)
    first = seeded(model, memory, **model.SPECIAL)
    again = seeded(model, memory, **model.SPECIAL)
    other = Sampling(seed=8, num_samples=3)(model, memory, **model.SPECIAL)
    assert torch.equal(first.tokens, again.tokens)
    assert first.tokens.tolist() != other.tokens.tolist()
    torch.manual_seed(0)
    drawn = [free(model, memory, **model.SPECIAL).tokens.tolist() for _ in range(2)]
    torch.manual_seed(0)
    assert free(model, memory, **model.SPECIAL).tokens.tolist() == drawn[0] != drawn[1]


def test_samples_are_best_first_with_their_own_scores_and_weights(make_model):
    model = make_model(words=9, seed=4)
    sampling = Sampling(temperature=1.5, top_k=6, num_samples=5, seed=0)
    result = sampling(model, model.memory(1, 2), **model.SPECIAL)
    assert (result.scores.diff(dim=1) <= 0).all()
    for row, image in enumerate((1, 2)):
        for column in range(5):
            tokens = result.tokens[row, column, : result.lengths[row, column]].tolist()
            rows, looked = model.replay(image, tokens)
            expected = rows[range(len(tokens)), tokens].sum()
            torch.testing.assert_close(result.log_probs[row, column], expected)
            torch.testing.assert_close(result.weights[row, column, : len(tokens)], looked)


def test_banned_tokens_and_short_captions_are_never_drawn(make_model):
    model = make_model(words=5, seed=5)
    sampling = Sampling(num_samples=50, min_length=2, seed=0)
    result = sampling(model, model.memory(1, 2), **model.SPECIAL, banned_ids=(4,))
    assert not (result.tokens == 4).any()
    assert not (result.tokens == model.BOS).any()
    assert (result.lengths >= 3).all()


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_model_without_a_possible_token_ends_every_caption(make_model, options, bad):
    model = make_model(seed=6)
    model.table[:] = bad
    result = Sampling(**options)(model, model.memory(1, 2), **model.SPECIAL)
    assert result.tokens.tolist() == [[[model.EOS]]] * 2
    assert (result.scores == -torch.inf).all()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"temperature": -1}, "decoding.temperature=-1"),
        ({"temperature": 0}, "decoding.temperature=0"),
        ({"temperature": math.inf}, "decoding.temperature=inf"),
        ({"top_k": 0}, "decoding.top_k=0"),
        ({"top_p": 1.5}, "decoding.top_p=1.5"),
        ({"top_p": 0.0}, "decoding.top_p=0.0"),
        ({"num_samples": 0}, "decoding.num_samples=0"),
        ({"max_length": 0}, "decoding.max_length=0"),
        ({"seed": 1.5}, "decoding.seed=1.5"),
    ],
)
def test_bad_value_is_refused_by_its_key(values, key):
    with pytest.raises(UserError, match=key):
        Sampling(**values)


def test_noise_of_an_image_draws_the_same_in_any_batch(make_model):
    model = make_model(words=9, seed=4)
    images, sampling = (11, 3, 8), Sampling(num_samples=4, max_length=7)
    together = sampling(model, model.memory(*images), noise=noise_of(images, 4, 7), **model.SPECIAL)
    for row, image in enumerate(images):
        noise = noise_of([image], 4, 7)
        alone = sampling(model, model.memory(image), noise=noise, **model.SPECIAL)
        end = alone.tokens.shape[-1]
        assert torch.equal(together.tokens[row, :, :end], alone.tokens[0])
    assert len({tuple(row) for row in together.tokens[0].tolist()}) > 1
