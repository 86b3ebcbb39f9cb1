"""The words of a caption among its tokens."""

import pytest

from captionlab.applications.explain.words import chosen_words, words_of
from captionlab.core.errors import UserError
from captionlab.text.tokenizers import CharacterTokenizer, SubwordTokenizer, WordTokenizer

CAPTIONS = ["a red star and a red ring", "the ring is left of a star"] * 3


def test_each_word_is_one_token_of_a_word_tokenizer():
    tokenizer = WordTokenizer.fit(CAPTIONS, threshold=1)
    words = words_of(tokenizer.encode(CAPTIONS[0]), tokenizer)
    assert [one.text for one in words] == CAPTIONS[0].split()
    assert [(one.first, one.end) for one in words[:3]] == [(0, 1), (1, 2), (2, 3)]


def test_subwords_are_put_together():
    tokenizer = SubwordTokenizer.fit(CAPTIONS, size=264)
    tokens = tokenizer.encode("a red star and a ring")
    words = words_of(tokens, tokenizer)
    assert [one.text for one in words] == ["a", "red", "star", "and", "a", "ring"]
    assert len(tokens) > len(words)
    assert [one.first for one in words[1:]] == [one.end for one in words[:-1]]
    assert words[-1].end == len(tokens)


def test_chinese_characters_are_words():
    tokenizer = CharacterTokenizer.fit(["红色的圆形", "蓝色的星形"] * 3, threshold=1)
    words = words_of(tokenizer.encode("红色的圆形"), tokenizer)
    assert [one.text for one in words] == list("红色的圆形")


def test_words_that_say_something_are_chosen():
    tokenizer = WordTokenizer.fit(CAPTIONS, threshold=1)
    words = words_of(tokenizer.encode(CAPTIONS[0]), tokenizer)
    assert [one.text for one in chosen_words(words, None)] == ["red", "star", "red", "ring"]
    assert [one.first for one in chosen_words(words, "Red")] == [1, 5]
    assert [one.text for one in chosen_words(words, "3")] == ["star"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [("rign", "did you mean 'ring'"), ("0", "the first is 1"), ("9" * 400, "has 7 words")],
)
def test_other_choices_are_refused(choice: str, message: str):
    tokenizer = WordTokenizer.fit(CAPTIONS, threshold=1)
    with pytest.raises(UserError, match=message):
        chosen_words(words_of(tokenizer.encode(CAPTIONS[0]), tokenizer), choice)
