"""Prompts as token ids, by every tokenizer."""

from __future__ import annotations

import pytest

from captionlab.core.errors import UserError
from captionlab.text.prompts import NO_PROMPT, Prompt, control_tokens
from captionlab.text.tokenizers import (
    CharacterTokenizer,
    SubwordTokenizer,
    WordTokenizer,
    tokenizer_from_dict,
)

CAPTIONS = ["what color is the ball", "a red ball", "the ball is red", "一个 红色的球 and a ball"]
PROMPTS = [
    Prompt(question="What color is the ball?"),
    Prompt(style="terse"),
    Prompt(style="ornate", language="zh"),
    Prompt(language="en"),
]
KINDS = [
    WordTokenizer.fit(CAPTIONS, threshold=1),
    CharacterTokenizer.fit(CAPTIONS, threshold=1),
    SubwordTokenizer.fit(CAPTIONS, size=300),
]


def ids(cases):
    return [type(case).__name__ for case in cases]


@pytest.mark.parametrize("plain", KINDS, ids=ids(KINDS))
def test_control_tokens_stand_behind_the_words_and_are_no_text(plain):
    controls = control_tokens(PROMPTS)
    tokenizer = plain.with_controls(controls)
    assert len(tokenizer) == len(plain) + len(controls) == len(plain) + 5
    assert tokenizer.encode("a red ball") == plain.encode("a red ball")
    own = tokenizer.encode_prompt(
        Prompt("what color is the ball", "terse", "zh", beginning="the ball")
    )
    place = dict(zip(controls, tokenizer.control_ids, strict=True))
    assert own == [
        place["<language:zh>"],
        place["<style:terse>"],
        *plain.encode("what color is the ball"),
        place["<answer>"],
        *plain.encode("the ball"),
    ]
    question, beginning = plain.decode(plain.encode("what color is the ball")), "the ball"
    assert tokenizer.decode(own).replace(" ", "") == (question + beginning).replace(" ", "")
    assert tokenizer.encode_prompt(NO_PROMPT) == []


@pytest.mark.parametrize("plain", KINDS, ids=ids(KINDS))
def test_a_checkpoint_keeps_control_tokens_and_has_no_entry_without(plain):
    assert "controls" not in plain.to_dict()
    tokenizer = plain.with_controls(control_tokens(PROMPTS))
    again = tokenizer_from_dict(tokenizer.to_dict())
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode_prompt(PROMPTS[2]) == tokenizer.encode_prompt(PROMPTS[2])


@pytest.mark.parametrize(
    "controls", [["<answer>", "<answer>"], "<answer>", [7], [["<answer>"]], {"a": 1}, None]
)
def test_damaged_control_tokens_are_refused(controls):
    entry = {**KINDS[0].to_dict(), "controls": controls}
    with pytest.raises(UserError, match="This tokenizer is damaged: its control tokens are"):
        tokenizer_from_dict(entry)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (
            Prompt(style="ters"),
            "style 'ters': this captioner did not learn it; did you mean 'terse'",
        ),
        (Prompt(language="de"), "language 'de': this captioner did not learn it"),
    ],
)
def test_an_unknown_style_or_language_is_named_with_the_nearest(prompt, sentence):
    with pytest.raises(UserError, match=sentence):
        KINDS[0].with_controls(control_tokens(PROMPTS)).encode_prompt(prompt)


def test_a_captioner_without_questions_or_styles_says_so():
    with pytest.raises(UserError, match="trained without questions"):
        KINDS[0].encode_prompt(PROMPTS[0])
    with pytest.raises(UserError, match="style 'terse': this captioner knows no styles"):
        KINDS[0].encode_prompt(PROMPTS[1])


def test_what_was_learned_and_is_not_asked_is_named():
    tokenizer = KINDS[0].with_controls(control_tokens(PROMPTS))
    assert tokenizer.unasked([NO_PROMPT]) == ["questions", "styles"]
    assert tokenizer.unasked([NO_PROMPT, PROMPTS[0]]) == ["styles"]
    assert tokenizer.unasked(PROMPTS) == []
    assert KINDS[0].unasked([NO_PROMPT]) == []


@pytest.mark.parametrize("plain", KINDS, ids=ids(KINDS))
def test_a_long_question_is_cut_before_its_answer(plain):
    tokenizer = plain.with_controls(control_tokens(PROMPTS))
    asked = Prompt(question="what color " * 50, style="terse")
    cut = tokenizer.encode_prompt(asked, 3)
    whole = tokenizer.encode_prompt(asked)
    assert cut == [*whole[:4], whole[-1]]
    assert len(whole) > 50
