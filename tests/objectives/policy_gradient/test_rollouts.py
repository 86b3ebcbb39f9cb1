"""Completions of a caption's beginnings: what they keep, what they are worth, what they cost."""

from __future__ import annotations

import pytest
import torch

from captionlab.decoding.sampling import Sampling
from captionlab.objectives.policy_gradient.policy import (
    DeterministicStepModel,
    special_ids,
    without_dropout,
)
from captionlab.objectives.policy_gradient.rollouts import complete_prefixes, rollout_values
from tests_support import tiny_captioner


@pytest.fixture
def sampled():
    torch.manual_seed(3)
    captioner = tiny_captioner(vocabulary=9).eval()
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        memory = captioner.encode(images)
    sampling = Sampling(num_samples=4, max_length=6)
    special = special_ids(captioner)
    return (
        captioner,
        memory,
        sampling,
        special,
        sampling(DeterministicStepModel(captioner), memory, **special),
    )


def test_completions_begin_as_their_caption_does_and_end_properly(sampled):
    captioner, memory, sampling, special, drawn = sampled
    seen = 0
    for step, captions in enumerate(
        complete_prefixes(DeterministicStepModel(captioner), memory, drawn, sampling, 3, special), 1
    ):
        assert captions.tokens.shape[:2] == (3, 12)
        assert captions.tokens.shape[2] <= sampling.max_length
        for image in range(3):
            for row in range(12):
                whole, length = drawn.tokens[image, row // 3], drawn.lengths[image, row // 3]
                ids, own = captions.tokens[image, row], captions.lengths[image, row]
                kept = min(step, int(length))
                assert torch.equal(ids[:kept], whole[:kept])
                assert (ids[own:] == 0).all()
                assert (ids[: own - 1] != 2).all()
                if length <= step:
                    assert own == length
                seen += 1
    assert seen == 36 * (drawn.tokens.shape[-1] - 1)


def test_a_word_is_worth_what_the_captions_that_begin_so_are_worth(sampled):
    """Against the exact value: all ends of a beginning, weighed by the model's probabilities."""
    captioner, memory, _, special, _ = sampled
    short = Sampling(num_samples=4, max_length=3)
    model = DeterministicStepModel(captioner)
    with torch.no_grad():
        drawn = short(model, memory, **special)

        def fives(captions):
            return (captions.tokens == 5).float().sum(-1)

        found = rollout_values(
            model,
            memory,
            drawn,
            sampling=short,
            completions=400,
            score=fives,
            final_scores=fives(drawn),
            special=special,
        )
        # two words are there: one more follows, which is 5 with the model's probability
        state = model.init_state(memory, 4)
        _, state = model.step(torch.ones_like(drawn.tokens[..., 0]), state)
        _, state = model.step(drawn.tokens[..., 0], state)
        logits, _ = model.step(drawn.tokens[..., 1], state)
        logits[..., [0, 1, 3]] = -torch.inf
        expected = fives(drawn) - (drawn.tokens[..., 2] == 5).float()
        expected = expected + logits.softmax(-1)[..., 5]
    going = drawn.lengths > 2
    assert going.any()
    torch.testing.assert_close(found[..., 1][going], expected[going], atol=0.08, rtol=0)
    assert torch.equal(found[..., 2], fives(drawn))


def test_the_decoder_takes_one_step_a_word_of_the_beginning(sampled, monkeypatch):
    captioner, memory, sampling, special, drawn = sampled
    model = DeterministicStepModel(captioner)
    widths = []
    step = model.step
    monkeypatch.setattr(
        model, "step", lambda ids, state: widths.append(ids.shape[1]) or step(ids, state)
    )
    with torch.no_grad(), without_dropout(captioner.decoder):
        list(complete_prefixes(model, memory, drawn, sampling, 2, special))
    assert widths.count(4) == drawn.tokens.shape[-1] - 1
