"""Questions, wording, history, copying and reading aloud."""

from __future__ import annotations

import pytest
from fake_server import caption
from page_support import picture, reload

from captionlab.applications.speech.voices import wav

pytestmark = pytest.mark.slow


def captioned(page):
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    return page


def test_a_question_is_answered_and_remembered(page, server):
    captioned(page)
    server.captions = [caption("gray")]
    page.fill("#question", "what color is it?")
    page.click("#question-form button")
    page.wait_for_selector("#asked:not([hidden])")
    assert server.captioned[1].fields["question"] == "what color is it?"
    assert "begin" not in server.captioned[1].fields
    assert page.inner_text("#live").startswith("Answer: gray.")
    assert page.inner_text("#entries li:nth-child(1)").split("\n") == ["what color is it?", "gray"]
    page.click("#entries li:nth-child(2) button")
    page.wait_for_selector("#words:has-text('dog')")
    assert page.is_hidden("#asked")


def test_style_language_and_beginning_are_asked_for(page, server):
    captioned(page)
    assert page.evaluate("[...document.querySelector('#language').options].map(o => o.text)") == [
        "English",
        "Chinese",
    ]
    page.select_option("#language", "zh")
    page.select_option("#style", "ornate")
    page.fill("#begin", "a photo")
    page.click("#wording-form button")
    page.wait_for_selector("#words[lang=zh]")
    fields = server.captioned[1].fields
    assert (fields["language"], fields["style"], fields["begin"]) == ("zh", "ornate", "a photo")


def test_only_what_the_model_can_is_offered(page, server):
    server.abilities = {"attention": False, "languages": ["en"], "fit": "stretch"}
    server.captions = [{"caption": "a dog", "probability": None, "words": []}]
    reload(page)
    page.set_input_files("#file", picture())
    page.wait_for_selector("#answer:not([hidden])")
    for form in ("#question-form", "#wording-form", "#others", "#read"):
        assert page.is_hidden(form)
    assert page.inner_text("#words") == "a dog"
    assert server.captioned[0].fields["attention"] == "false"


def test_history_is_shown_again_and_forgotten(page, server):
    captioned(page)
    server.captions = [caption("a red ball")]
    page.set_input_files("#file", picture(90, 60))
    page.wait_for_selector("#entries li:nth-child(2)")
    assert page.locator("#entries [aria-current]").inner_text() == "a red ball"
    page.click("#entries li:nth-child(2) button")
    page.wait_for_selector("#facts:has-text('300 × 200')")
    assert len(server.captioned) == 2
    page.click("#forget")
    assert page.is_hidden("#history")
    reload(page)
    assert page.is_hidden("#history")


def test_the_caption_is_copied_as_a_sentence(open_page):
    page = captioned(open_page(permissions=["clipboard-read", "clipboard-write"]))
    page.click("#copy")
    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "A dog runs on grass."


def test_without_a_clipboard_it_is_copied_all_the_same(open_page):
    page = captioned(open_page(permissions=["clipboard-read"]))
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.click("#copy")
    page.wait_for_selector("text=Copied")


def test_a_voice_of_the_server_reads_aloud_and_stops(page, server):
    server.abilities["speech"] = True
    reload(page)
    captioned(page)
    server.answers.append(
        lambda _: (200, wav(bytes(16_000 * 2 * 20), 16_000), {"Content-Type": "audio/wav"})
    )
    page.click("#read")
    page.wait_for_selector("text=Stop reading")
    asked = server.asked[-1]
    assert (asked.path, asked.fields) == (
        "/v1/speech",
        {"text": "A dog runs on grass.", "language": "en"},
    )
    page.click("#read")
    page.wait_for_selector("text=Read aloud")


def test_doubt_is_read_aloud(page, server):
    server.abilities["speech"] = True
    reload(page)
    server.captions = [caption("a cat", 0.1)]
    captioned(page)
    page.click("#read")
    page.wait_for_selector(
        "#failure:not([hidden])"
    )  # no sound came, but what was asked for is known
    assert server.asked[-1].fields["text"] == "I am not sure. My best guess: A cat."


def test_a_voice_that_fails_is_explained(page, server):
    server.abilities["speech"] = True
    reload(page)
    captioned(page)
    server.fail(500, "no breath")
    page.click("#read")
    page.wait_for_selector("text=no breath")
    assert page.inner_text("#read") == "Read aloud"


def test_reading_that_was_stopped_in_time_stays_silent(page, server):
    server.abilities["speech"] = True
    reload(page)
    captioned(page)
    played = "void (AudioContext.prototype.createBufferSource = () => document.body.remove())"
    page.evaluate(played)
    release = server.hold((200, wav(bytes(32_000), 16_000), {}))
    page.click("#read")
    page.click("text=Stop reading")
    release()
    page.wait_for_selector("text=Read aloud")
    assert page.is_visible("main")
