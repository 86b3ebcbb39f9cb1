"""Captions that begin after given tokens, of a model that is a table."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.ensemble import Ensemble, EnsembleMemory
from captionlab.decoding.prompted import decode_prompted
from captionlab.decoding.sampling import noise_of

PROMPTS = [[5, 6], [], [4], [6, 4], []]
METHODS = [
    Greedy(max_length=6),
    Beam(beam_size=3, num_captions=2, max_length=6),
    Beam(beam_size=4, groups=2, num_captions=2, max_length=6),
    Beam(beam_size=3, min_length=4, no_repeat_ngram=2, max_length=6),
]


@dataclass(frozen=True)
class Behind:
    """A model whose every caption follows one prompt: what ``Prompted`` must equal."""

    model: object
    prompt: tuple[int, ...]

    def init_state(self, memory, width):
        state = self.model.init_state(memory, width)
        for token in [1, *self.prompt][: len(self.prompt)]:
            _, state = self.model.step(torch.full((len(memory.pooled), width), token), state)
        return state

    def step(self, token_ids, state):
        first = token_ids == 1  # bos
        last = self.prompt[-1] if self.prompt else 1
        return self.model.step(torch.where(first, last, token_ids), state)


def alone(method, model, image: int, prompt: list[int]):
    return method(Behind(model, tuple(prompt)), model.memory(image), **model.SPECIAL)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_each_caption_is_what_it_is_alone_behind_its_prompt(method, make_model):
    model = make_model(words=5)
    memory = model.memory(*range(len(PROMPTS)))
    together = decode_prompted(method, model, memory, PROMPTS, **model.SPECIAL)
    for image, prompt in enumerate(PROMPTS):
        own = alone(method, model, image, prompt)
        length = own.tokens.shape[2]
        assert together.tokens[image, :, :length].tolist() == own.tokens[0].tolist()
        assert not together.tokens[image, :, length:].any()
        assert together.lengths[image].tolist() == own.lengths[0].tolist()
        torch.testing.assert_close(together.scores[image], own.scores[0])
        torch.testing.assert_close(together.log_probs[image], own.log_probs[0])
        torch.testing.assert_close(together.weights[image, :, :length], own.weights[0])
        assert not together.weights[image, :, length:].any()


def test_a_prompt_is_read_once_whatever_the_beams(make_model):
    model = make_model()
    read: list[tuple[int, ...]] = []
    step = model.step

    def counted(token_ids, state):
        read.append(tuple(token_ids.shape))
        return step(token_ids, state)

    model.step = counted
    method = Beam(beam_size=3, max_length=4)
    decode_prompted(method, model, model.memory(1, 2), [[5, 6], [4, 4]], **model.SPECIAL)
    # bos, the first token, and the last one, behind which the beams part
    assert read[:3] == [(2, 1)] * 3
    assert {width for _, width in read[3:]} == {3}


def test_no_prompt_is_the_method_itself(make_model):
    model = make_model()
    memory = model.memory(1, 2)
    method = Beam(max_length=5)
    plain = method(model, memory, **model.SPECIAL)
    for prompts in ([[], []], [(), ()]):
        again = decode_prompted(method, model, memory, prompts, **model.SPECIAL)
        assert torch.equal(again.tokens, plain.tokens)
        assert torch.equal(again.scores, plain.scores)


def test_noise_goes_with_its_image(make_model):
    model = make_model(words=6)
    sampling = Sampling(num_samples=4, max_length=6)
    images = [0, 1, 2, 3, 4]
    noise = noise_of(images, 4, 6)
    memory = model.memory(*images)
    together = decode_prompted(sampling, model, memory, PROMPTS, noise=noise, **model.SPECIAL)
    for image in images:
        behind = Behind(model, tuple(PROMPTS[image]))
        own = sampling(behind, model.memory(image), noise=noise[[image]], **model.SPECIAL)
        length = own.tokens.shape[2]
        assert together.tokens[image, :, :length].tolist() == own.tokens[0].tolist()


def test_captioners_that_write_together_read_the_prompt_together(make_model):
    models = [make_model(words=5, seed=seed) for seed in range(2)]
    ensemble = Ensemble(models)
    method = Beam(beam_size=2, max_length=5)

    def memory(*images):
        return EnsembleMemory(tuple(model.memory(*images) for model in models))

    together = decode_prompted(
        method, ensemble, memory(0, 1, 2), [[5], [4, 6], []], **models[0].SPECIAL
    )
    for image, prompt in enumerate([(5,), (4, 6), ()]):
        own = method(Behind(ensemble, prompt), memory(image), **models[0].SPECIAL)
        assert (
            together.tokens[image, 0, : own.tokens.shape[2]].tolist() == own.tokens[0, 0].tolist()
        )
        torch.testing.assert_close(together.scores[image], own.scores[0])
