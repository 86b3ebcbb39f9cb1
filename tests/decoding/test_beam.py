from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Beam, Greedy

LENGTH = 4  # longest caption of the exhaustive tests, in tokens
EVERYTHING = 4 * 5 ** (LENGTH - 1)  # at least as many beams as there are hypotheses at any step
PENALTIES = [0.0, 0.7, 1.0, 2.0, -0.5]


def captions(min_length=0):
    """All captions of four words with at most LENGTH tokens, as tuples that end with eos or cut."""
    for count in range(LENGTH + 1):
        for words in itertools.product(range(3, 7), repeat=count):
            if count == LENGTH:
                yield words
            elif count >= min_length:
                yield (*words, 2)


def enumerate_captions(model, image, penalty, min_length=0):
    """The ranking of all captions as (score, tokens), best first, summed up token by token."""
    ranking = []
    for tokens in captions(min_length):
        rows, _ = model.replay(image, list(tokens))
        log_prob = math.fsum(float(row[token]) for row, token in zip(rows, tokens, strict=True))
        ranking.append((log_prob / len(tokens) ** penalty, tokens))
    return sorted(ranking, reverse=True)


def listed(result, image):
    """The captions of one image as (score, tokens)."""
    return [
        (float(score), tuple(row[: int(length)]))
        for score, row, length in zip(
            result.scores[image],
            result.tokens[image].tolist(),
            result.lengths[image],
            strict=True,
        )
    ]


def plain_beam(model, image, size, penalty, max_length):
    """Beam search as the docstring tells it, for one image, in loops, without an early stop."""
    live, finished = [(0.0, ())], []
    for step in range(max_length):
        children = []
        for log_prob, tokens in live:
            row = model.replay(image, [*tokens, 0])[0][-1]
            for token in range(2 if step else 3, len(row)):  # no bos, no pad, one word at least
                children.append((log_prob + float(row[token]), (*tokens, token)))
        children = sorted(children, reverse=True)[:size]
        ended = [c for c in children if c[1][-1] == 2 or step + 1 == max_length]
        finished += [(log_prob / (step + 1) ** penalty, tokens) for log_prob, tokens in ended]
        live = [child for child in children if child not in ended]
    return sorted(finished, reverse=True)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_beam_equals_exhaustive_search(make_model, penalty):
    model, images = make_model(seed=1), (5, 6, 7)
    every = sum(1 for _ in captions())
    beam = Beam(EVERYTHING, penalty, num_captions=every, max_length=LENGTH, min_length=0)
    result = beam(model, model.memory(*images), **model.SPECIAL)
    for row, image in enumerate(images):
        expected = enumerate_captions(model, image, penalty)
        found = listed(result, row)
        assert [tokens for _, tokens in found] == [tokens for _, tokens in expected]
        assert [s for s, _ in found] == pytest.approx([s for s, _ in expected], abs=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("kept", [1, 3])
def test_early_stop_keeps_the_exhaustive_winners(make_model, penalty, kept):
    for seed in range(5):
        model = make_model(seed=seed, spread=1.0)
        beam = Beam(EVERYTHING, penalty, num_captions=kept, max_length=LENGTH)
        result = beam(model, model.memory(3, 4), **model.SPECIAL)
        for row, image in enumerate((3, 4)):
            expected = enumerate_captions(model, image, penalty, min_length=1)[:kept]
            assert [t for _, t in listed(result, row)] == [t for _, t in expected]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_narrow_beam_equals_search_in_plain_loops(make_model, size, penalty):
    images = tuple(range(6))
    for seed in range(3):
        model = make_model(words=8, seed=seed, spread=1.5)
        kept = min(size, 2)
        beam = Beam(size, penalty, num_captions=kept, max_length=7)
        result = beam(model, model.memory(*images), **model.SPECIAL)
        for row, image in enumerate(images):
            expected = plain_beam(model, image, size, penalty, 7)[:kept]
            found = [pair for pair in listed(result, row) if pair[1]]
            assert [t for _, t in found] == [t for _, t in expected]
            assert [s for s, _ in found] == pytest.approx([s for s, _ in expected], abs=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_beam_of_one_is_greedy(make_model, penalty):
    model = make_model(words=50, seed=2, spread=3.0)
    memory = model.memory(*range(40))
    greedy = Greedy(max_length=12)(model, memory, **model.SPECIAL)
    beam = Beam(1, penalty, max_length=12)(model, memory, **model.SPECIAL)
    assert torch.equal(beam.tokens, greedy.tokens)
    assert torch.equal(beam.weights, greedy.weights)
    torch.testing.assert_close(beam.log_probs, greedy.log_probs)


def test_beam_of_one_breaks_ties_as_greedy_does(make_model):
    model = make_model(words=3000, seed=3)
    model.table = model.table.round()  # many equal logits a row
    memory = model.memory(*range(20))
    greedy = Greedy()(model, memory, **model.SPECIAL)
    assert torch.equal(Beam(1)(model, memory, **model.SPECIAL).tokens, greedy.tokens)


def test_image_in_a_batch_equals_image_alone(make_model):
    model, images = make_model(words=9, seed=4), (11, 3, 8, 27, 5)
    beam = Beam(4, 0.8, num_captions=3, max_length=9)
    together = beam(model, model.memory(*images), **model.SPECIAL)
    for row, image in enumerate(images):
        alone = beam(model, model.memory(image), **model.SPECIAL)
        end = alone.tokens.shape[-1]
        assert torch.equal(together.tokens[row, :, :end], alone.tokens[0])
        assert (together.tokens[row, :, end:] == model.PAD).all()
        assert torch.equal(together.scores[row], alone.scores[0])
        assert torch.equal(together.weights[row, :, :end], alone.weights[0])


def test_permuted_images_give_permuted_captions(make_model):
    model, images = make_model(words=9, seed=5), list(range(10))
    beam, order = Beam(3, 1.0, max_length=8), torch.randperm(10)
    straight = beam(model, model.memory(*images), **model.SPECIAL)
    mixed = beam(model, model.memory(*order.tolist()), **model.SPECIAL)
    assert torch.equal(mixed.tokens, straight.tokens[order])
    assert torch.equal(mixed.scores, straight.scores[order])


def test_weights_and_scores_belong_to_the_winning_path(make_model):
    model, images = make_model(words=9, seed=6), (1, 2, 3)
    result = Beam(5, 0.9, num_captions=4)(model, model.memory(*images), **model.SPECIAL)
    for row, image in enumerate(images):
        for column, (score, tokens) in enumerate(listed(result, row)):
            rows, looked = model.replay(image, list(tokens))
            log_prob = float(rows[range(len(tokens)), list(tokens)].sum())
            assert float(result.log_probs[row, column]) == pytest.approx(log_prob, abs=1e-5)
            assert score == pytest.approx(log_prob / len(tokens) ** 0.9, abs=1e-5)
            torch.testing.assert_close(result.weights[row, column, : len(tokens)], looked)
            assert (result.weights[row, column, len(tokens) :] == 0).all()


def test_captions_are_best_first_distinct_and_clean(make_model):
    model = make_model(words=6, seed=7)
    result = Beam(6, 0.5, num_captions=6)(
        model, model.memory(*range(12)), **model.SPECIAL, banned_ids=(5,)
    )
    assert (result.scores.diff(dim=1) <= 0).all()
    for row in range(12):
        found = [tokens for _, tokens in listed(result, row)]
        assert len(set(found)) == 6
        assert not {model.PAD, model.BOS, 5} & set(itertools.chain(*found))
        assert all(tokens[0] != model.EOS for tokens in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(make_model, dtype):
    model = make_model(words=9, seed=8)
    model.table = model.table.to(dtype)
    memory = model.memory(*range(6))
    half = Beam(4)(model, memory, **model.SPECIAL)
    model.table = model.table.float()
    full = Beam(4)(model, memory, **model.SPECIAL)
    assert half.scores.dtype == torch.float32
    assert torch.equal(half.tokens, full.tokens)
    assert torch.equal(half.scores, full.scores)


def test_impossible_tokens_are_never_chosen(make_model):
    model = make_model(words=9, seed=9)
    model.table[:, 4:] = -torch.inf
    result = Beam(5, num_captions=5, max_length=3)(model, model.memory(1, 2), **model.SPECIAL)
    # what is left are three captions: 3 eos, 3 3 eos, 3 3 3
    assert set(result.tokens.flatten().tolist()) == {model.PAD, model.EOS, 3}
    assert result.lengths.sort().values.tolist() == [[0, 0, 2, 3, 3]] * 2
    assert (result.scores[:, 3:] == -torch.inf).all()
    assert result.scores[:, :3].isfinite().all()


def test_model_without_a_possible_token_gives_an_empty_caption(make_model):
    for bad in (torch.nan, -torch.inf):
        model = make_model()
        model.table[:] = bad
        result = Beam(3)(model, model.memory(1, 2), **model.SPECIAL)
        assert result.lengths.tolist() == [[0], [0]]
        assert (result.scores == -torch.inf).all()
        assert result.weights.shape == (2, 1, 0, 3)


def test_broken_hypothesis_dies_and_displaces_no_other(make_model):
    model = make_model(seed=13)
    memory, step = model.memory(*range(6)), model.step
    results = []
    for bad in (torch.nan, -torch.inf):

        def bad_after_word_3(token_ids, state, bad=bad):
            logits, state = step(token_ids, state)
            return logits.masked_fill((token_ids == 3)[..., None], bad), state

        model.step = bad_after_word_3
        results.append(Beam(5, num_captions=3)(model, memory, **model.SPECIAL))
    assert torch.equal(results[0].tokens, results[1].tokens)
    assert torch.equal(results[0].scores, results[1].scores)
    assert results[0].scores.isfinite().any()


def test_search_stops_when_every_image_is_settled(make_model):
    model = make_model(seed=10)
    model.table[:, model.EOS] = 15.0
    # six beams, four words: at the second step two hypotheses are still live, and hopeless
    result = Beam(6, length_penalty=0.0, max_length=50)(
        model, model.memory(*range(5)), **model.SPECIAL
    )
    assert model.steps == 2
    assert result.tokens.shape == (5, 1, 2)


@pytest.mark.parametrize(
    ("penalty", "p_end", "length"),
    [
        # ends at once: log 0.6 / 2; a wrong bound for the rest: log 0.4 / 3; what it reaches: / 20
        (1.0, 0.6, 20),
        # ends at once: log 0.4 * 2; at the next step: log 0.6 * 3; a wrong bound: log 0.6 * 20
        (-1.0, 0.4, 3),
    ],
)
def test_search_goes_on_while_a_longer_caption_can_win(make_model, penalty, p_end, length):
    model = make_model(words=1)
    rows = torch.zeros(5, 4)
    rows[0, 3] = 1.0  # first a word, then the end or a word, then words or the end for certain
    rows[1, [2, 3]] = torch.tensor([p_end, 1 - p_end])
    rows[2:, 3 if length == 20 else 2] = 1.0
    model.table = rows.log()

    def step(token_ids, state):
        history = state.history + 1
        return model.table[history.clamp_max(4) - 1], replace(state, history=history)

    model.step = step
    result = Beam(2, penalty)(model, model.memory(0), **model.SPECIAL)
    assert result.lengths.tolist() == [[length]]


def test_large_penalty_keeps_searching_for_longer_captions(make_model):
    model = make_model(seed=10)
    model.table[:, model.EOS] = 3.0
    short = Beam(3, 0.0, max_length=9)(model, model.memory(*range(5)), **model.SPECIAL)
    long = Beam(3, 3.0, max_length=9)(model, model.memory(*range(5)), **model.SPECIAL)
    assert (long.lengths >= short.lengths).all()
    assert long.lengths.sum() > short.lengths.sum()


def test_large_logits_do_not_lose_precision(make_model):
    model = make_model(words=9, seed=11)
    memory = model.memory(*range(6))
    plain = Beam(4)(model, memory, **model.SPECIAL)
    model.table = (model.table + 1000).double()
    moved = Beam(4)(model, memory, **model.SPECIAL)
    assert torch.equal(moved.tokens, plain.tokens)
    torch.testing.assert_close(moved.scores, plain.scores, atol=1e-3, rtol=0)


def test_model_without_attention_gives_no_weights(make_model, monkeypatch):
    model = make_model(seed=12)
    memory, step = model.memory(1, 2), model.step
    seeing = Beam(3)(model, memory, **model.SPECIAL)

    def blind(token_ids, state):
        logits, state = step(token_ids, state)
        return logits, replace(state, weights=None)

    monkeypatch.setattr(model, "step", blind)
    result = Beam(3)(model, memory, **model.SPECIAL)
    assert result.weights is None
    assert torch.equal(result.tokens, seeing.tokens)


def test_no_image_gives_no_caption(make_model):
    model = make_model()
    memory = type(model.memory(1))(torch.zeros(0, 1))
    assert Beam(3)(model, memory, **model.SPECIAL).tokens.shape == (0, 1, 0)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"beam_size": 0}, "decoding.beam_size=0"),
        ({"beam_size": 2.5}, "decoding.beam_size=2.5"),
        ({"beam_size": True}, "decoding.beam_size=True"),
        ({"num_captions": 0}, "decoding.num_captions=0"),
        ({"num_captions": 6}, "decoding.num_captions=6"),
        ({"length_penalty": "a"}, "decoding.length_penalty='a'"),
        ({"length_penalty": math.nan}, "decoding.length_penalty=nan"),
        ({"max_length": 0}, "decoding.max_length=0"),
        ({"min_length": -1}, "decoding.min_length=-1"),
        ({"min_length": 21}, "decoding.min_length=21"),
    ],
)
def test_bad_value_is_refused_by_its_key(values, key):
    with pytest.raises(UserError, match=key):
        Beam(**values)
