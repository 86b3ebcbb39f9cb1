import json
import random

import pytest

from captionlab.applications.endpoint.answers import NoAnswer, NoCaption, read_caption, server_words
from captionlab.applications.endpoint.secret import Secret

KEY = "sk-proj-0123456789abcdefghijklmnop"


def completion(content: object, **more: object) -> bytes:
    message = {"content": content, **more.pop("message", {})}
    return json.dumps({"choices": [{"message": message, **more}]}).encode()


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        ("  A dog\n\truns.\u2028", "A dog runs."),
        (
            [{"type": "text", "text": "A dog"}, {"type": "image"}, 3, {"text": "runs."}],
            "A dog runs.",
        ),
        ("<think>\nis it a cat?</think>\nA dog.", "A dog."),
        ("is it a cat?</think>\n\nA dog.", "A dog."),
        ("\x1b[31mA\x00 dog\ud800\u202e.", "[31mA dog ."),
        ("A man \U0001f469\u200d\U0001f680.", "A man \U0001f469\u200d\U0001f680."),
        (f"The key is {KEY}.", "The key is ***."),
        (f"It begins {KEY[:20]}, and ends {KEY[20:]}", "It begins ***, and ends ***"),
        (f"{KEY}{KEY}", "***"),
    ],
)
def test_a_caption_is_one_clean_line(content: object, caption: str):
    assert read_caption(completion(content), Secret(KEY)) == caption


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (completion(None, message={"refusal": f"no, {KEY}"}), r"refuses: no, \*\*\*"),
        (completion(None), "is empty"),
        (completion(" \n"), "is empty"),
        (completion("<think>so</think>"), "is empty"),
        (completion(7), "is empty"),
        (completion([]), "is empty"),
        (completion("", finish_reason="length"), "max_tokens"),
        (completion("<think>is it a", finish_reason="length"), "max_tokens"),
        (completion("", finish_reason="content_filter"), "filter"),
        (completion("x" * 10_001), "10,001 characters"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": [null]}', "no choices"),
        (b'{"choices": [{"message": "hello"}]}', "no choices"),
        (b"{}", "no choices"),
    ],
)
def test_why_there_is_no_caption(body: bytes, reason: str):
    with pytest.raises(NoCaption, match=reason):
        read_caption(body, Secret(KEY))


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"3", b"[" * 10_000, b"9" * 5000, b'{"error":"x"}']
)
def test_what_is_no_answer_at_all(body: bytes):
    with pytest.raises(NoAnswer):
        read_caption(body, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model"}}', "no such model"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": 1}]}', '{"detail": [{"loc": 1}]}'),
        (b"<h1>Not\r\n Found</h1>", "<h1>Not Found</h1>"),
        (f"a{KEY}b".encode(), "a***b"),
        (json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(), "bad key ***"),
        (f"{KEY[:6]}\u200b{KEY[6:]}".encode(), "***"),
    ],
)
def test_a_servers_own_words(body: bytes, words: str):
    assert server_words(body, Secret(KEY)) == words


def test_words_are_shortened_after_the_key_is_hidden():
    body = ("x" * 290 + KEY).encode()
    assert not any(KEY[i : i + 5] in server_words(body, Secret(KEY)) for i in range(len(KEY) - 4))


def test_a_word_that_stands_for_no_key_hides_nothing():
    assert Secret("dummy").hide("a crash test dummy") == "a crash test dummy"
    assert server_words(b"bad key dummy", Secret("dummy")) == "bad key ***"
    assert KEY not in repr(Secret(KEY))


def test_answers_changed_at_random_are_captions_or_errors_of_ours():
    random.seed(3)
    whole = completion("A dog runs.", finish_reason="stop", message={"refusal": None})
    for _ in range(2000):
        body = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            body[random.randrange(len(body))] = random.choice(b'{}[]",:0n\\u\x00\xff ')
        try:
            caption = read_caption(bytes(body), Secret(KEY))
        except (NoCaption, NoAnswer):
            continue
        assert caption == " ".join(caption.split())
        assert caption.isprintable()
