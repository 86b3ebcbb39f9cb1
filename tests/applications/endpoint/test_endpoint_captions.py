import asyncio
import errno
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captionlab.applications.endpoint import cache
from captionlab.applications.endpoint.answers import NoCaption
from captionlab.applications.endpoint.cache import AnswerCache
from captionlab.applications.endpoint.captions import Request, caption_pictures
from captionlab.applications.endpoint.retry import Retry
from captionlab.applications.endpoint.secret import Secret
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.core.errors import UserError
from captionlab.data.images.files import BrokenImage
from endpoint_support import QUICK, Asked, Server, by_color, make_pictures, serving


def caption(
    server: Server,
    pictures,
    folder: Path,
    *,
    text="Describe.",
    retry=QUICK,
    on_wait=None,
    **endpoint,
):
    settings = {"model": "m"} | endpoint
    outcomes: list = []

    def take(number, outcome):
        assert number == len(outcomes)
        outcomes.append(outcome)
        return True

    caption_pictures(
        Endpoint(url=server.url, **settings),
        [one if isinstance(one, Request) else Request(one, text) for one in pictures],
        AnswerCache(folder),
        take,
        retry=retry,
        on_wait=on_wait or (lambda sentence: None),
    )
    return outcomes


def test_the_request_is_that_of_an_openai_compatible_server(tmp_path: Path):
    with serving() as server:
        assert caption(server, make_pictures(tmp_path, 3)[2:], tmp_path) == ["a picture of red 2"]
    (asked,) = server.asked
    assert asked.handler.path == "/v1/chat/completions"
    assert "Authorization" not in asked.headers
    text = asked.body["messages"][0]["content"][0]
    assert text == {"type": "text", "text": "Describe."}
    rest = {k: v for k, v in asked.body.items() if k != "messages"}
    assert rest == {"model": "m", "temperature": 0, "max_tokens": 128, "stream": False}


def test_captions_come_in_order_though_answers_do_not(tmp_path: Path):
    others = threading.Semaphore(0)

    def first_is_last(asked: Asked) -> None:
        if asked.red == 0:
            for _ in range(5):
                assert others.acquire(timeout=60)
        else:
            others.release()
        by_color(asked)

    with serving(first_is_last) as server:
        got = caption(server, make_pictures(tmp_path, 6), tmp_path, concurrency=2)
    assert got == [f"a picture of red {number}" for number in range(6)]


def test_as_many_requests_as_asked_for_run_at_a_time_and_no_more(tmp_path: Path):
    meeting, now, most = threading.Barrier(3), [0], [0]
    lock = threading.Lock()

    def count(asked: Asked) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        meeting.wait(timeout=60)  # which three must reach
        with lock:
            now[0] -= 1
        by_color(asked)

    with serving(count) as server:
        caption(server, make_pictures(tmp_path, 9), tmp_path, concurrency=3)
    assert most == [3]


@pytest.mark.parametrize("status", [408, 429, 500, 503, 529])
def test_a_failure_that_may_pass_is_tried_again(tmp_path: Path, status: int):
    def fail_twice(asked: Asked) -> None:
        asked.send(status, "busy") if asked.number < 2 else by_color(asked)

    waits: list[str] = []
    with serving(fail_twice) as server:
        got = caption(server, make_pictures(tmp_path, 1), tmp_path, on_wait=waits.append)
    assert got == ["a picture of red 0"]
    assert len(server.asked) == 3
    assert len(waits) == 1
    assert f"answers {status}" in waits[0]


def test_a_server_that_always_fails_ends_with_its_words(tmp_path: Path):
    with (
        serving(lambda asked: asked.send(503, {"error": {"message": "loading\x1b[2J"}})) as server,
        pytest.raises(
            UserError, match=r"answers 503 Service Unavailable \(loading \[2J\), 3 times"
        ),
    ):
        caption(server, make_pictures(tmp_path, 1), tmp_path)
    assert len(server.asked) == 3


def test_the_wait_that_a_server_names_is_kept_up_to_the_ceiling(tmp_path: Path):
    def later(asked: Asked) -> None:
        asked.send(429, "", Retry_After="3600") if asked.number == 0 else by_color(asked)

    waits: list[str] = []
    with serving(later) as server:
        retry = Retry(tries=2, first=0.001, ceiling=0.2)
        caption(server, make_pictures(tmp_path, 1), tmp_path, retry=retry, on_wait=waits.append)
    assert "asked again in 0.2 s" in waits[0]


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (400, "--parameter"),
        (401, "OPENAI_API_KEY"),
        (404, "--model"),
        (413, "--max-side"),
        (418, ""),
    ],
)
def test_a_request_that_will_never_succeed_ends_at_once(tmp_path: Path, status: int, part: str):
    words = {"error": {"message": "no\x00 such\n thing " + 1000 * "x"}}
    with (
        serving(lambda asked: asked.send(status, words)) as server,
        pytest.raises(
            UserError, match=rf"answers {status} .*\(no such thing x+\.\.\.\): .*{part}"
        ) as it,
    ):
        caption(server, make_pictures(tmp_path, 5), tmp_path, concurrency=1)
    assert len(server.asked) == 1
    assert len(str(it.value)) < 700


def test_a_redirect_is_not_followed(tmp_path: Path):
    with serving() as other:

        def elsewhere(asked: Asked) -> None:
            asked.send(307, "", Location=f"{other.url}/chat/completions")

        with serving(elsewhere) as server, pytest.raises(UserError, match="sends us elsewhere"):
            caption(server, make_pictures(tmp_path, 1), tmp_path)
    assert not other.asked


def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    with serving() as server:
        pass
    with pytest.raises(UserError, match=f"^{server.url} cannot be reached .Connection refused"):
        caption(server, make_pictures(tmp_path, 1), tmp_path)


def test_a_server_that_breaks_off_later_is_tried_again(tmp_path: Path):
    def hang_up(asked: Asked) -> None:
        if asked.number == 1:
            asked.handler.connection.close()
            raise OSError
        by_color(asked)

    with serving(hang_up) as server:
        got = caption(server, make_pictures(tmp_path, 3), tmp_path, concurrency=1)
    assert got == [f"a picture of red {number}" for number in range(3)]


def test_a_slow_server_is_given_up(tmp_path: Path):
    free = threading.Event()
    with serving(lambda asked: free.wait(timeout=60)) as server:
        with pytest.raises(UserError, match="gives no answer within 1 s, 2 times in a row"):
            caption(
                server,
                make_pictures(tmp_path, 1),
                tmp_path,
                timeout=1,
                retry=Retry(tries=2, first=0.001),
            )
        free.set()


def trickle(asked: Asked, piece: bytes) -> None:
    asked.handler.send_response(200)
    asked.handler.end_headers()
    asked.handler.close_connection = True
    stop = threading.Event()
    while not stop.wait(0.05 if len(piece) == 1 else 0):
        asked.handler.wfile.write(piece)


def test_a_body_that_never_ends_is_cut_off(tmp_path: Path):
    with (
        serving(lambda asked: trickle(asked, b" " * 65536)) as server,
        pytest.raises(UserError, match="answers with more than 1,048,576 bytes"),
    ):
        caption(server, make_pictures(tmp_path, 1), tmp_path)


def test_a_body_that_comes_byte_by_byte_runs_into_the_timeout(tmp_path: Path):
    with (
        serving(lambda asked: trickle(asked, b" ")) as server,
        pytest.raises(UserError, match="gives no answer within 1 s"),
    ):
        caption(server, make_pictures(tmp_path, 1), tmp_path, timeout=1, retry=Retry(tries=1))


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path):
    with (
        serving(lambda asked: asked.send(200, b"\x1f\x8b", Content_Encoding="gzip")) as server,
        pytest.raises(UserError, match="compressed though that was not asked for"),
    ):
        caption(server, make_pictures(tmp_path, 1), tmp_path)
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"\x1b[2J hello\r\n\r\n", "breaks off .illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "breaks off .peer closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "illegal chunk header"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "breaks off .Receive buffer too long"),
        (b"HTTP/1.1 204 No\r\n\r\n", "no JSON object"),
        (b"HTTP/1.1 304 No\r\nContent-Length: 0\r\n\r\n", "answers 304"),
        (b"HTTP/1.1 302 No\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n", "elsewhere"),
        (b"", "breaks off"),
    ],
)
def test_what_is_no_http_ends_with_a_sentence(tmp_path: Path, raw: bytes, part: str):
    def write(asked: Asked) -> None:
        asked.handler.wfile.write(raw)
        asked.handler.close_connection = True

    with serving(write) as server, pytest.raises(UserError, match=part) as error:
        caption(server, make_pictures(tmp_path, 1), tmp_path)
    assert "\x1b" not in str(error.value)


def test_cookies_are_not_sent_back(tmp_path: Path):
    def set_cookie(asked: Asked) -> None:
        asked.send(200, {"choices": [{"message": {"content": "a dog"}}]}, Set_Cookie="a=b")

    with serving(set_cookie) as server:
        caption(server, make_pictures(tmp_path, 2), tmp_path, concurrency=1)
    assert len(server.asked) == 2
    assert "Cookie" not in server.asked[1].headers


def test_a_disk_that_is_full_ends_the_work(tmp_path: Path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write_new", full)
    with serving() as server, pytest.raises(OSError, match=r"No space left.*endpoint.*json"):
        caption(server, make_pictures(tmp_path, 1), tmp_path)


@pytest.mark.parametrize("body", ["<html>hello", "[1]", '{"a":', "[" * 100_000, ""])
def test_an_answer_that_is_no_json_ends_with_its_words(tmp_path: Path, body: str):
    with (
        serving(lambda asked: asked.send(200, body)) as server,
        pytest.raises(UserError, match=r"no JSON object .*is this its address"),
    ):
        caption(server, make_pictures(tmp_path, 1), tmp_path)


def test_a_picture_without_a_caption_stops_no_other(tmp_path: Path):
    def refuse_one(asked: Asked) -> None:
        if asked.red == 1:
            asked.say(None, refusal="I cannot\nhelp.")
        else:
            by_color(asked)

    pictures = make_pictures(tmp_path, 4)
    pictures[2].write_bytes(b"GIF89a")
    with serving(refuse_one) as server:
        got = caption(server, pictures, tmp_path)
    assert [type(one) for one in got] == [str, NoCaption, BrokenImage, str]
    assert str(got[1]) == "the model refuses: I cannot help."


def test_a_server_that_captions_nothing_is_left_after_ten_pictures(tmp_path: Path):
    with (
        serving(lambda asked: asked.say("", finish_reason="length")) as server,
        pytest.raises(UserError, match=r"none of the first 10 pictures .*--parameter max_tokens"),
    ):
        caption(server, make_pictures(tmp_path, 20), tmp_path, concurrency=1)
    assert len(server.asked) == 10


def test_what_was_answered_before_an_end_is_not_asked_again(tmp_path: Path):
    def end(asked: Asked) -> None:
        by_color(asked) if asked.number < 3 else asked.send(401, "")

    pictures = make_pictures(tmp_path, 5)
    with serving(end) as server:
        with pytest.raises(UserError):
            caption(server, pictures, tmp_path, concurrency=1)
        assert len(server.asked) == 4
        server.asked[:] = server.asked[:1]  # from here on three more are answered
        assert caption(server, pictures, tmp_path, concurrency=1)[4] == "a picture of red 4"
        assert [asked.red for asked in server.asked[1:]] == [3, 4]


def test_equal_pictures_are_asked_about_once(tmp_path: Path):
    pictures = make_pictures(tmp_path, 1)
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    with serving() as server:
        got = caption(server, [*pictures, copy, pictures[0]], tmp_path, concurrency=3)
    assert got == ["a picture of red 0"] * 3
    assert len(server.asked) == 1


def test_anything_that_changes_an_answer_is_asked_anew(tmp_path: Path):
    pictures = make_pictures(tmp_path, 1)
    other = [{}, {"model": "n"}, {"text": "Say."}, {"parameters": {"temperature": 1}}]
    with serving() as server, serving() as second:
        for settings in (*other, {"max_side": 512}, {"concurrency": 2}, {"timeout": 5.0}, {}):
            caption(server, pictures, tmp_path, **settings)
        assert len(server.asked) == 5  # concurrency and timeout change no answer
        caption(second, pictures, tmp_path)
        assert len(second.asked) == 1
        Image.new("RGB", (40, 30), (90, 0, 0)).save(pictures[0])
        assert caption(server, pictures, tmp_path) == ["a picture of red 9"]


def test_pictures_are_sent_upright_and_small(tmp_path: Path):
    photo = Image.new("RGB", (300, 100), (10, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "a.jpg", exif=exif)
    sizes = []

    def look(asked: Asked) -> None:
        sizes.append(asked.picture.size)
        by_color(asked)

    with serving(look) as server:
        caption(server, [tmp_path / "a.jpg"], tmp_path, max_side=60)
        caption(server, [tmp_path / "a.jpg"], tmp_path, max_side=1024)
    assert sizes == [(20, 60), (100, 300)]


def test_who_wants_no_more_ends_the_work(tmp_path: Path):
    taken = []
    with serving() as server:
        caption_pictures(
            Endpoint(url=server.url, model="m", concurrency=1),
            [Request(one, "Describe.") for one in make_pictures(tmp_path, 9)],
            AnswerCache(tmp_path),
            lambda number, outcome: taken.append(outcome) or number < 1,
            retry=QUICK,
        )
    assert len(taken) == 2
    assert len(server.asked) <= 3


def test_an_error_of_ours_is_raised_as_it_is(tmp_path: Path):
    def fail(number, outcome):
        raise KeyError("ours")

    with serving() as server, pytest.raises(KeyError, match="ours"):
        caption_pictures(
            Endpoint(url=server.url, model="m"),
            [Request(one, "Describe.") for one in make_pictures(tmp_path, 3)],
            AnswerCache(tmp_path),
            fail,
        )
    assert not asyncio.all_tasks(asyncio.new_event_loop())


def test_nothing_of_a_request_but_the_question_is_kept(tmp_path: Path):
    with serving() as server:
        caption(server, make_pictures(tmp_path / "p", 1), tmp_path / "cache")
    (entry,) = (tmp_path / "cache").rglob("*.json")
    content = json.loads(entry.read_text())
    assert content["caption"] == "a picture of red 0"
    assert set(content["question"]) == {
        *("endpoint", "model", "prompt", "parameters", "max_side", "jpeg", "picture")
    }


def test_questions_about_a_picture_are_asked_each_and_prepare_it_once(tmp_path: Path):
    times = []

    def draw():
        times.append(1)
        return np.full((30, 40, 3), 20, np.uint8)

    def repeat(asked: Asked) -> None:
        asked.say(asked.body["messages"][0]["content"][0]["text"])

    requests = [Request(draw, text) for text in ("What?", "Where?", "What?", "How many?")]
    with serving(repeat) as server:
        got = caption(server, requests, tmp_path, concurrency=1)
        assert got == ["What?", "Where?", "What?", "How many?"]
        assert len(server.asked) == 3
        assert caption(server, requests[::-1], tmp_path) == got[::-1]
        assert len(server.asked) == 3
    assert len(times) == 3  # digest and JPEG, and the digest of the second round


def test_a_question_with_the_key_in_it_is_neither_sent_nor_kept(tmp_path: Path):
    key = "sk-proj-0123456789abcdef"
    pictures = make_pictures(tmp_path / "p", 1)
    with serving() as server, pytest.raises(UserError, match="the key stands among") as error:
        caption(server, pictures, tmp_path, text=f"What is {key}?", key=Secret(key))
    assert key not in str(error.value)
    assert not server.asked
