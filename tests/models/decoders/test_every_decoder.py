"""What must hold of every preset's decoder, whatever it is made of."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from captionlab.core.memory import Memory
from captionlab.decoding import Beam, Greedy, Sampling, unfinished
from captionlab.decoding.prompted import decode_prompted
from captionlab.models.likelihood import teacher_forced
from tests_support import PRESETS, tiny_preset

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
WORDS = (4, 5, 6, 7)  # with pad, bos, eos and the unknown one: 8
LENGTH = 3
# every caption of one to three words, with eos where there is room
ALL = [
    (*words, 2) if count < LENGTH else words
    for count in range(1, LENGTH + 1)
    for words in itertools.product(WORDS, repeat=count)
]


def memories(width: int) -> Memory:
    """Three images with 5, 2 and 7 real slots; what stands behind them must not matter."""
    generator = torch.Generator().manual_seed(5)
    slots = torch.randn(3, 7, width, generator=generator)
    mask = torch.arange(7) < torch.tensor([5, 2, 7])[:, None]
    pooled = (slots * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return Memory(slots, pooled, mask)


def alone(memory: Memory, image: int) -> Memory:
    """One image of the batch with its real slots only."""
    real = memory.mask[image]
    return Memory(
        memory.slots[image : image + 1, real], memory.pooled[image : image + 1], real[real][None]
    )


@pytest.fixture(params=PRESETS)
def model(request: pytest.FixtureRequest):
    built = tiny_preset(request.param, vocabulary=8)
    for name, parameter in built.named_parameters():
        if name.endswith("cross.gate"):
            parameter.data.fill_(0.8)  # a language model would not look yet
    return built


def replay(model, memory: Memory, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (B,W,T) of tokens (B,W,T), from the uncached forward pass."""
    bos = torch.full_like(tokens[..., :1], IDS["bos_id"])
    hidden = model.decoder(memory, torch.cat([bos, tokens[..., :-1]], -1)).hidden
    return model.logits(hidden).log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)


def test_cached_steps_equal_the_uncached_forward_pass(model):
    memory, tokens = memories(model.encoder.dim), torch.randint(3, 8, (3, 2, 6))
    tokens[..., 0] = 1
    whole = model.decoder(memory, tokens)
    state = model.init_state(memory, 2)
    for t in range(6):
        logits, state = model.step(tokens[..., t], state)
        torch.testing.assert_close(
            logits, model.logits(whole.hidden[:, :, t]), atol=1e-5, rtol=1e-5
        )
        if whole.weights is not None:
            torch.testing.assert_close(state.weights, whole.weights[:, :, t], atol=1e-5, rtol=1e-5)


def test_the_state_follows_its_beam(model):
    memory, tokens = memories(model.encoder.dim), torch.randint(3, 8, (3, 2, 4))
    straight, crossed = model.init_state(memory, 2), model.init_state(memory, 2)
    swap = torch.tensor([[1, 0]]).expand(3, -1)
    for t in range(3):
        _, straight = model.step(tokens[..., t], straight)
        _, crossed = model.step(tokens[..., t].flip(1), crossed)
    logits, _ = model.step(tokens[..., 3], straight)
    again, _ = model.step(tokens[..., 3], crossed.select(swap))
    torch.testing.assert_close(logits, again)


def test_an_image_alone_equals_itself_among_images_with_more_slots(model):
    memory = memories(model.encoder.dim)
    for method in (Greedy(max_length=6), Beam(beam_size=3, max_length=6)):
        together = method(model, memory, **IDS)
        for i in range(3):
            one = method(model, alone(memory, i), **IDS)
            length = int(one.lengths[0, 0])
            assert together.tokens[i, 0, :length].tolist() == one.tokens[0, 0, :length].tolist()
            torch.testing.assert_close(together.scores[i, 0], one.scores[0, 0])


METHODS = [
    Greedy(max_length=6),
    Beam(beam_size=3, num_captions=2, max_length=6),
    Beam(beam_size=4, groups=2, num_captions=2, no_repeat_ngram=1, max_length=6),
    Beam(beam_size=2, forced_words=["5"], max_length=6),
    Sampling(num_samples=2, max_length=6, seed=2, no_repeat_ngram=2, bad_endings=["6"]),
]


def test_images_that_are_laid_aside_change_no_caption(model, monkeypatch):
    """Some end at once, some never do: the search goes on with the others, or with all of them."""
    memory = memories(model.encoder.dim).take(torch.tensor([0, 1, 2, 1, 0, 2]))
    step, rows = model.step, []
    ends = torch.tensor([9.0, -9.0, 0.0, 2.0, 9.0, -9.0])

    def ending(token_ids, state):
        """The state's pooled vector tells the images apart: its first number is what eos gains."""
        rows.append(len(token_ids))
        logits, state = step(token_ids, state)
        logits[..., 2] += state.memory.pooled[:, -1:]
        return logits, state

    memory.pooled[:, -1] = ends
    monkeypatch.setattr(model, "step", ending)
    for method in METHODS:
        found = []
        for share in (0.01, 2.0):
            monkeypatch.setattr(unfinished, "SHARE", share)
            rows.clear()
            ids = {**IDS, "banned_ids": (3,), "encode": lambda word: [int(word)]}
            found.append(method(model, memory, **ids))
            assert (min(rows) < 6) == (share < 1)
        apart, together = found
        assert torch.equal(apart.tokens, together.tokens)
        assert torch.equal(apart.lengths, together.lengths)
        torch.testing.assert_close(apart.scores, together.scores)
        torch.testing.assert_close(apart.log_probs, together.log_probs)
        torch.testing.assert_close(apart.weights, together.weights)


def test_beam_equals_exhaustive_search(model):
    memory, every = memories(model.encoder.dim), ALL
    beam = Beam(beam_size=64, length_penalty=0.7, num_captions=3, max_length=LENGTH)
    found = beam(model, memory, banned_ids=(3,), **IDS)
    padded = torch.tensor([[*c, *[0] * (LENGTH - len(c))] for c in every]).expand(3, -1, -1)
    lengths = torch.tensor([len(c) for c in every])
    real = torch.arange(LENGTH) < lengths[:, None]
    scores = (replay(model, memory, padded) * real).sum(-1) / lengths**0.7
    best, order = scores.topk(3, dim=1)
    torch.testing.assert_close(found.scores, best, atol=1e-5, rtol=1e-5)
    expected = padded.gather(1, order[..., None].expand(-1, -1, LENGTH))
    assert found.tokens.tolist() == expected[..., : found.tokens.shape[-1]].tolist()


def test_forced_words_are_in_the_best_caption_that_holds_them(model):
    memory = memories(model.encoder.dim)
    beam = Beam(beam_size=64, length_penalty=0.0, max_length=LENGTH, forced_words=["6", "4"])
    found = beam(model, memory, encode=lambda word: [int(word)], banned_ids=(3,), **IDS)
    every = [c for c in ALL if {4, 6} <= set(c)]
    padded = torch.tensor([[*c, *[0] * (LENGTH - len(c))] for c in every]).expand(3, -1, -1)
    scores = (replay(model, memory, padded) * (padded > 0)).sum(-1)
    torch.testing.assert_close(found.scores[:, 0], scores.amax(1), atol=1e-5, rtol=1e-5)


def test_padding_and_neighbors_change_no_caption(model):
    memory, tokens = memories(model.encoder.dim), torch.randint(4, 8, (3, 2, 6))
    tokens[..., 0] = 1
    whole = model.decoder(memory, tokens).hidden
    shorter = tokens.clone()
    shorter[:, 1, 4:] = 0
    torch.testing.assert_close(model.decoder(memory, shorter).hidden[:, 1, :4], whole[:, 1, :4])
    torch.testing.assert_close(model.decoder(memory, shorter).hidden[:, 0], whole[:, 0])


def test_samples_are_scored_by_the_models_own_probabilities(model):
    memory = memories(model.encoder.dim)
    found = Sampling(num_samples=3, max_length=5, seed=1)(model, memory, **IDS)
    if hasattr(model.decoder, "sample_init_state"):
        pytest.skip("each sample has a latent of its own, which forward does not know")
    real = torch.arange(found.tokens.shape[-1]) < found.lengths[..., None]
    total = (replay(model, memory, found.tokens) * real).sum(-1)
    torch.testing.assert_close(total, found.log_probs, atol=1e-4, rtol=1e-4)


PROMPTS = [[7, 4], [5], [6, 6]]  # of three images


def one_by_one(method, model, memory, prompts) -> list[tuple[list[int], float]]:
    """Tokens and score of each image's best caption, decoded alone, behind its prompt."""
    captions = []
    for image, prompt in enumerate(prompts):
        generated = decode_prompted(method, model, alone(memory, image), [prompt], **IDS)
        length = int(generated.lengths[0, 0])
        captions.append((generated.tokens[0, 0, :length].tolist(), float(generated.scores[0, 0])))
    return captions


def test_prompts_of_several_lengths_are_decoded_together_as_each_is_alone(model):
    memory = memories(model.encoder.dim)
    for method in (Greedy(max_length=6), Beam(beam_size=3, max_length=6)):
        together = decode_prompted(method, model, memory, PROMPTS, **IDS)
        for image, (tokens, score) in enumerate(one_by_one(method, model, memory, PROMPTS)):
            own = together.tokens[image, 0, : together.lengths[image, 0]]
            assert own.tolist() == tokens
            assert together.scores[image, 0].item() == pytest.approx(score, abs=1e-5)


def test_a_caption_behind_a_prompt_has_the_probability_of_the_forward_pass(model):
    memory = memories(model.encoder.dim)
    generated = decode_prompted(
        Beam(beam_size=2, num_captions=2, length_penalty=0.0, max_length=5),
        model, memory, PROMPTS, banned_ids=(3,), **IDS,
    )  # fmt: skip
    for image, prompt in enumerate(PROMPTS):
        for tokens, length, score in zip(
            generated.tokens[image], generated.lengths[image], generated.scores[image], strict=True
        ):
            given = torch.tensor([*prompt, *tokens[:length].tolist()])
            log_probs = replay(model, alone(memory, image), given[None, None])[0, 0]
            torch.testing.assert_close(log_probs[len(prompt) :].sum(), score, atol=1e-5, rtol=1e-5)


def test_the_loss_behind_prompts_is_that_of_the_words_alone(model):
    memory = memories(model.encoder.dim)
    tokens = torch.tensor([[[1, 4, 5, 2], [1, 6, 2, 0]]] * 3)
    lengths = torch.tensor([[4, 3], [4, 3], [4, 0]])
    prompts = torch.tensor([[[7, 4], [5, 0]], [[5, 0], [0, 0]], [[6, 6], [0, 0]]])
    batch = SimpleNamespace(tokens=tokens, lengths=lengths, prompts=prompts)
    forced = teacher_forced(model, memory, batch)
    nll = F.cross_entropy(forced.logits, forced.targets, reduction="none").split(
        forced.real.sum(-1).flatten().tolist()
    )
    # each caption alone, behind its own prompt: the probability of what follows the prompt
    for place, own in enumerate(nll):
        image, caption = divmod(place, 2)
        words = tokens[image, caption, 1 : lengths[image, caption]].tolist()
        if not lengths[image, caption]:
            assert not len(own)
            continue
        given = [i for i in prompts[image, caption].tolist() if i]
        log_probs = replay(model, alone(memory, image), torch.tensor([[[*given, *words]]]))[0, 0]
        torch.testing.assert_close(-log_probs[len(given) :], own, atol=1e-4, rtol=1e-4)
