"""A server that fails, is busy, slow, gone or strange: one clear sentence, and a way on."""

from __future__ import annotations

import pytest
from page_support import picture

pytestmark = pytest.mark.slow


def failure(page) -> str:
    page.wait_for_selector("#failure:not([hidden])")
    return page.inner_text("#failure-text")


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (500, "boom", "Something went wrong there, not here (500). boom"),
        (503, "full", "Many people ask at this moment. Try again in 7 s."),
        (504, "", "The server took too long"),
        (400, "no such style", "no such style"),
        (413, "too many bytes", "too large for this server"),
        (429, "", "The server is busy"),
    ],
)
def test_an_error_is_explained_and_trying_again_helps(page, server, status, message, sentence):
    server.fail(status, message, **({"Retry_After": "7"} if status == 503 else {}))
    page.set_input_files("#file", picture())
    assert sentence in failure(page)
    assert page.is_hidden("#welcome")
    page.focus("#retry")
    page.keyboard.press("Enter")
    page.wait_for_selector(".word")
    assert page.is_hidden("#failure")
    assert page.evaluate("document.activeElement.id") == "result"


def test_a_picture_that_the_server_cannot_read_is_not_sent_again(page, server):
    server.fail(415, "not a picture")
    page.set_input_files("#file", picture())
    assert "cannot read this file" in failure(page)
    assert page.is_hidden("#retry")


def test_an_error_page_in_html_is_no_html_here(page, server):
    server.answers.append(lambda _: (502, b"<h1>Bad gateway</h1>", {}))
    page.set_input_files("#file", picture())
    assert "Something went wrong there, not here (502)." in failure(page)


@pytest.mark.parametrize("body", [b"not json", {}, {"results": []}, {"results": [{"captions": 3}]}])
def test_a_strange_answer_is_an_error(page, server, body):
    server.answers.append(lambda _: (200, body, {}))
    page.set_input_files("#file", picture())
    assert "could not be read" in failure(page)


def test_offline_the_picture_waits_for_the_connection(page):
    page.context.set_offline(True)
    page.set_input_files("#file", picture())
    assert "This device is offline" in failure(page)
    assert page.is_visible("#picture")
    page.context.set_offline(False)
    page.click("#retry")
    page.wait_for_selector(".word")


def test_a_server_that_starts_later_is_asked_for_its_model_again(open_page, server):
    server.knows_model = False
    page = open_page()
    assert "busy" in failure(page)
    server.knows_model = True
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    assert page.inner_text("#model") == "fake"


def test_waiting_is_shown_and_can_be_ended(page, server):
    release = server.hold()
    page.set_input_files("#file", picture())
    page.wait_for_selector("#waiting:not([hidden])")
    assert page.inner_text("#live").startswith("Looking at your picture")
    assert page.get_attribute("#result", "aria-busy") == "true"
    page.click("#cancel")
    assert "Canceled" in failure(page)
    assert page.get_attribute("#result", "aria-busy") == "false"
    release()
    page.click("#retry")
    page.wait_for_selector(".word")


def test_the_newest_picture_wins(page, server):
    release = server.hold()
    page.set_input_files("#file", picture(100, 100))
    page.wait_for_selector("#facts:has-text('100 ×')")
    page.set_input_files("#file", picture(50, 50))
    page.wait_for_selector(".word")
    release()
    assert page.inner_text("#facts").startswith("50 × 50")
    assert page.is_hidden("#failure")
    assert page.is_hidden("#history")


def test_a_failing_question_leaves_the_caption(page, server):
    page.set_input_files("#file", picture())
    page.wait_for_selector(".word")
    server.fail(400, "the captioner knows none of its words")
    page.fill("#question", "qwerty?")
    page.press("#question", "Enter")
    assert "knows none of its words" in failure(page)
    assert page.inner_text("#spoken") == "a dog runs on grass"
    assert page.input_value("#question") == "qwerty?"


def test_a_token_is_asked_for_and_used(page, server):
    server.fail(401, "token?")
    page.set_input_files("#file", picture())
    assert "asks for a token" in failure(page)
    page.fill("#token", "secret")
    page.press("#token", "Enter")
    page.wait_for_selector(".word")
    assert server.captioned[-1].headers["Authorization"] == "Bearer secret"
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_an_earlier_result_is_opened_while_a_newer_one_is_awaited(page, server):
    page.set_input_files("#file", picture(100, 100))
    page.wait_for_selector(".word")
    release = server.hold()
    page.set_input_files("#file", picture(50, 50))
    page.click("#entries button")
    page.wait_for_selector("#facts:has-text('100 × 100')")
    page.wait_for_selector(".word")
    release()
    assert page.is_hidden("#waiting")
    assert page.is_hidden("#failure")
