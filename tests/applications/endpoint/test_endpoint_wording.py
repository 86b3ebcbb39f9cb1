"""What a server is asked, in words."""

import pytest

from captionlab.applications.endpoint.wording import ANSWERS, PROMPTS, Wording
from captionlab.core.errors import UserError
from captionlab.text.prompts import NO_PROMPT, Prompt


@pytest.mark.parametrize(
    ("given", "prompt", "text"),
    [
        (None, NO_PROMPT, "Describe this image in one short sentence."),
        (None, Prompt(language="zh"), "用一句简短的话描述这张图片。"),
        (None, Prompt("Is it red?"), "Is it red? Answer with one word or a short phrase."),
        (None, Prompt("Ist es rot?", language="de"), "Ist es rot? Antworte mit einem Wort"),
        (None, Prompt(style="terse"), "Describe this image in one short sentence. Style: terse."),
        (None, Prompt(style="terse", language="zh"), "用一句简短的话描述这张图片。 风格：terse。"),
        ("Say.", NO_PROMPT, "Say."),
        ("Say.", Prompt("Is it red?"), "Say. Is it red?"),
        (
            "Say.",
            Prompt("Is it red?", "terse", "fr"),
            "Say. Is it red? Style: terse. Language: fr.",
        ),
        ("Q: {question} A:", Prompt("Is it red?"), "Q: Is it red? A:"),
        ("Q: {question} A:", NO_PROMPT, "Describe this image in one short sentence."),
        ("As {style} in {language}.", Prompt(style="Ann"), "As Ann in en."),
        ("{question}", Prompt("{style} {question}?", "terse"), "{style} {question}? Style: terse."),
        ("{other} {question}", Prompt("a?"), "{other} a?"),
    ],
)
def test_a_prompt_becomes_words(given: str | None, prompt: Prompt, text: str):
    assert Wording(given, "en").text(prompt).startswith(text)


def test_every_language_has_a_template_for_captions_and_for_answers():
    assert PROMPTS.keys() == ANSWERS.keys()
    for language in PROMPTS:
        assert Wording(None, language).text(Prompt("what?")).count("what?") == 1


def test_a_language_without_a_usual_template_needs_one():
    with pytest.raises(UserError, match="say what is asked in language 'fr': --prompt TEXT"):
        Wording(None, "fr").text(NO_PROMPT)
    assert Wording("Décris.", "fr").text(NO_PROMPT) == "Décris."


def test_a_template_that_serves_nothing_is_refused():
    wording = Wording("{question} as {style}?", "en")
    wording.require_served([NO_PROMPT, Prompt("a", "b")], "so")
    with pytest.raises(UserError, match=r"--prompt has a place for {question} and {style}, and so"):
        wording.require_served([NO_PROMPT, Prompt("a"), Prompt(style="b")], "so")
    Wording("Say.", "en").require_served([NO_PROMPT], "so")


@pytest.mark.parametrize("given", ["", " ", "x" * 20_001, "\udcff"])
def test_a_template_has_bounds(given: str):
    with pytest.raises(UserError, match=r"^--prompt must be a text of 1 to 20,000"):
        Wording(given, "en")


def test_a_question_has_bounds_too():
    with pytest.raises(UserError, match=r"^what is asked .'xxx.* must be a text of 1 to 20,000"):
        Wording(None, "en").text(Prompt("x" * 20_000))
