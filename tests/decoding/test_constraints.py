"""GenerationConstraints hold in every decoding method, and diverse beams and samples are what they say."""

from __future__ import annotations

import itertools

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.constraints import no_repeat_
from captionlab.decoding.sampling import distinct, typical

WORDS = {"a": 3, "cat": 4, "on": 5, "mat": 6}
METHODS = [
    lambda **limits: Greedy(**limits),
    lambda **limits: Beam(4, **limits),
    lambda **limits: Beam(4, num_captions=2, groups=2, **limits),
    lambda **limits: Sampling(num_samples=4, seed=1, **limits),
]


def encode(text: str) -> list[int]:
    return [WORDS.get(word, 9) for word in text.split()]


def found(method, model) -> list[list[int]]:
    """All captions of eight images, without what stands behind their end."""
    result = method(model, model.memory(*range(5, 13)), encode=encode, **model.SPECIAL)
    pairs = zip(
        result.tokens.flatten(0, 1).tolist(), result.lengths.flatten().tolist(), strict=True
    )
    return [tokens[:length] for tokens, length in pairs if length]


@pytest.mark.parametrize("make", METHODS)
@pytest.mark.parametrize("n", [1, 2])
def test_no_ngram_stands_twice_in_a_caption(make_model, make, n: int):
    def repeats(captions: list[list[int]]) -> int:
        grams = [list(zip(*(c[i:] for i in range(n)), strict=False)) for c in captions]
        return sum(len(g) - len(set(g)) for g in grams)

    model = make_model(seed=3)
    assert repeats(found(make(max_length=14, min_length=3), model)) > 0
    assert repeats(found(make(max_length=14, min_length=3, no_repeat_ngram=n), model)) == 0


@pytest.mark.parametrize("make", METHODS)
def test_no_caption_ends_badly_or_says_what_is_forbidden(make_model, make):
    model = make_model(seed=2)
    before = found(make(max_length=12), model)
    assert any(c[-2:-1] == [4] for c in before if c[-1] == 2)
    assert any(5 in c for c in before)
    after = found(make(max_length=12, bad_endings=["cat"], forbidden_words=["on"]), model)
    assert not any(c[-2:-1] == [4] for c in after if c[-1] == 2)
    assert not any(5 in c for c in after)


def test_no_repeat_is_the_plain_loop():
    torch.manual_seed(0)
    logits, history = torch.randn(3, 2, 7), torch.randint(3, 7, (3, 2, 9))
    for n in (1, 2, 3):
        expected = logits.clone()
        for b, w in itertools.product(range(3), range(2)):
            words = history[b, w].tolist()
            for start in range(len(words) - n + 1):
                if words[start : start + n - 1] == words[len(words) - n + 1 :]:
                    expected[b, w, words[start + n - 1]] = -torch.inf
        torch.testing.assert_close(no_repeat_(logits.clone(), history, n), expected)


def test_diverse_groups_are_algorithm_1_of_the_paper(make_model):
    """Two groups of one beam: the second is greedy on log p minus the words of the first."""
    model, strength = make_model(seed=4), 1.5
    method = Beam(2, 0.0, num_captions=2, groups=2, diversity=strength, max_length=4, min_length=0)
    result = method(model, model.memory(7), **model.SPECIAL)
    captions: list[list[int]] = [[], []]
    for step in range(4):
        taken: list[int] = []
        for group in range(2):
            if captions[group][-1:] == [2]:
                continue
            row = model.replay(7, [*captions[group], 0])[0][-1].clone()
            row[:2] = -torch.inf
            for word in taken:
                row[word] -= strength
            captions[group].append(int(row.argmax()))
            taken.append(captions[group][-1])
        assert len(captions[0]) <= step + 1
    best = [
        t[:n] for t, n in zip(result.tokens[0].tolist(), result.lengths[0].tolist(), strict=True)
    ]
    assert sorted(best) == sorted(captions)
    for tokens, log_prob in zip(best, result.log_probs[0].tolist(), strict=True):
        rows = model.replay(7, tokens)[0]
        assert log_prob == pytest.approx(
            float(sum(r[t] for r, t in zip(rows, tokens, strict=True))), abs=1e-4
        )


def test_groups_without_diversity_repeat_one_search(make_model):
    model = make_model(seed=5)
    alone = Beam(2, num_captions=2, max_length=5)(model, model.memory(5, 6), **model.SPECIAL)
    double = Beam(4, num_captions=4, groups=2, diversity=0.0, max_length=5)
    twice = double(model, model.memory(5, 6), **model.SPECIAL)
    torch.testing.assert_close(twice.scores[:, ::2], alone.scores)
    torch.testing.assert_close(twice.scores[:, 1::2], alone.scores)


def test_typical_keeps_what_is_nearest_to_the_entropy():
    """Meister et al. 2023, equation 11, token by token."""
    logits = torch.randn(2, 1, 9, generator=torch.Generator().manual_seed(1)) * 2
    for row, kept in zip(logits[:, 0], typical(logits, 0.6)[:, 0] > -torch.inf, strict=True):
        p = row.softmax(0)
        entropy = -(p * p.log()).sum()
        order = sorted(range(9), key=lambda v: abs(float(entropy + p[v].log())))
        chosen, mass = set(), 0.0
        while mass < 0.6:
            chosen.add(order[len(chosen)])
            mass = float(sum(p[v] for v in chosen))
        assert set(kept.nonzero().flatten().tolist()) == chosen


def test_distinct_samples_are_different_and_best_first(make_model):
    model = make_model(seed=1, spread=6.0)
    every = Sampling(num_samples=8, seed=1, max_length=3)(
        model, model.memory(5, 6), **model.SPECIAL
    )
    kept = distinct(every, 5, pad_id=0)
    for image in range(2):
        all_of = [tuple(t) for t in every.tokens[image].tolist()]
        unique = list(dict.fromkeys(all_of))[:5]
        assert len(unique) < 8
        assert [tuple(t) for t in kept.tokens[image].tolist()][: len(unique)] == unique
        assert (kept.lengths[image, len(unique) :] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Greedy(no_repeat_ngram=-1), "no_repeat_ngram=-1"),
        (lambda: Greedy(bad_endings="the"), "must be a list of words"),
        (lambda: Beam(4, groups=3), "groups=3 must divide"),
        (lambda: Beam(4, diversity=-1.0), "diversity"),
        (lambda: Sampling(num_captions=2), "num_captions=2 must not exceed"),
        (lambda: Sampling(typical_p=1.5), "typical_p=1.5"),
        (lambda: Sampling(typical_p=0.5, top_k=3), "typical_p chooses by itself"),
    ],
)
def test_impossible_values_are_named(make, message: str):
    with pytest.raises(UserError, match=message):
        make()


def test_an_unknown_word_is_named(make_model):
    model = make_model()
    with pytest.raises(UserError, match="'dog', which is not one word"):
        Greedy(bad_endings=["dog"])(
            model, model.memory(5), encode=encode, banned_ids=(9,), **model.SPECIAL
        )
