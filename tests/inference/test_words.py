"""Captions word by word."""

import math

import pytest
import torch

from captionlab.decoding import Beam, Greedy, Sampling
from captionlab.decoding.captions import generate
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.inference.words import as_grids, token_log_probs, word_tokens, worded_captions
from captionlab.text.prompts import ANSWER, NO_PROMPT, Prompt
from captionlab.text.tokenizers import CharacterTokenizer, SubwordTokenizer, WordTokenizer
from serve_support import small_captioner
from tests_support import PRESETS, tiny_preset

CAPTION = "a red circle below the blue square"


def images(count: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(
    "decoding", [Greedy(), Beam(beam_size=3, num_captions=3), Sampling(num_samples=3)]
)
@pytest.mark.parametrize("preset", ["attn_lstm", "transformer", "updown"])
def test_log_probs_of_tokens_sum_to_the_captions(preset, decoding):
    model = tiny_preset(preset)
    tokenizer = WordTokenizer.fit(["a b c d e f g"] * 5)
    memory = model.encode(images(2))
    _, generated = generate(model, memory, decoding, tokenizer, [[], [5, 6]])
    log_probs = token_log_probs(model, memory, generated.tokens, tokenizer, [[], [5, 6]])
    for image in range(2):
        for place, length in enumerate(generated.lengths[image].tolist()):
            total = log_probs[image, place, :length].sum()
            assert float(total) == pytest.approx(float(generated.log_probs[image, place]), abs=1e-4)


@pytest.mark.slow
def test_every_preset_has_words():
    for preset in PRESETS:
        tokenizer = WordTokenizer.fit(["a b c d e f g"] * 5)
        config = {"data": {}, "model": {}}
        model = tiny_preset(preset, vocabulary=len(tokenizer))
        loaded = LoadedCaptioner(model, tokenizer, Greedy(max_length=5), config)
        size = model.encoder.image_size
        (caption,), _ = worded_captions(loaded, images(2, size), [NO_PROMPT] * 2)
        assert " ".join(word.text for word in caption.words) == caption.text, preset
        assert all(0 <= word.confidence <= 1 for word in caption.words)


def test_prompts_of_a_batch_change_no_other_image():
    loaded = small_captioner(ANSWER)
    pictures = images(3)
    prompts = [Prompt(question="what color is the circle"), NO_PROMPT, Prompt(beginning="a red")]
    together = worded_captions(loaded, pictures, prompts, Beam(beam_size=2))
    for place, prompt in enumerate(prompts):
        (alone,) = worded_captions(loaded, pictures[place : place + 1], [prompt], Beam(beam_size=2))
        assert [one.text for one in alone] == [one.text for one in together[place]]
    begun = together[2][0]
    assert begun.text.startswith("a red")
    assert [word.given for word in begun.words[:3]] == [True, True, False]
    assert math.exp(begun.log_prob) <= math.prod(word.confidence for word in begun.words) + 1e-6


def test_pieces_of_a_word_are_together():
    tokenizer = SubwordTokenizer.fit(["a red circle"] * 3, size=270)
    ids = tokenizer.encode(CAPTION)
    assert len(ids) > len(CAPTION.split())
    words = word_tokens(tokenizer, ids)
    assert [text for text, _ in words] == CAPTION.split()
    assert [place for _, places in words for place in places] == list(range(len(ids)))


def test_a_character_of_several_bytes_is_a_word():
    tokenizer = SubwordTokenizer.fit(["a red circle"] * 3, size=270)
    ids = tokenizer.encode("红色 圆 a dog")
    words = word_tokens(tokenizer, ids)
    assert [text for text, _ in words] == ["红", "色", "圆", "a", "dog"]
    assert [len(places) for _, places in words][:2] == [4, 3]  # a blank, and three bytes each
    assert sum(len(places) for _, places in words) == len(ids)


def test_a_token_of_several_characters_is_one_word():
    tokenizer = SubwordTokenizer.fit(["红色的圆"] * 9, size=300)
    ids = tokenizer.encode("红色的圆")
    words = word_tokens(tokenizer, ids)
    assert "".join(text for text, _ in words) == "红色的圆"
    assert sorted(place for _, places in words for place in places) == list(range(len(ids)))


def test_chinese_characters_are_words():
    tokenizer = CharacterTokenizer.fit(["一个红色的圆 abc 12"] * 5)
    ids = tokenizer.encode("红色的abc 12圆")
    assert [text for text, _ in word_tokens(tokenizer, ids)] == [
        "红",
        "色",
        "的",
        "abc",
        "12",
        "圆",
    ]


def test_nothing_has_no_words():
    tokenizer = WordTokenizer.fit(["a b c d e f g"] * 5)
    assert word_tokens(tokenizer, []) == []
    assert word_tokens(tokenizer, [tokenizer.unk_id]) == []


def test_attention_is_a_grid_where_slots_are_one():
    grid = as_grids(torch.rand(3, 16))
    assert grid is not None
    assert grid.shape == (3, 4, 4)
    assert as_grids(torch.rand(3, 5)) is None
    assert as_grids(torch.rand(3, 1)) is None
