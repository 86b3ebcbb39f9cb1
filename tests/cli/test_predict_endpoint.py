import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from captionlab.applications.endpoint import client
from captionlab.cli.main import main, parser
from captionlab.core.errors import UserError
from endpoint_support import QUICK, Asked, by_color, make_pictures, serving
from tests_support import HANG

KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.fixture(autouse=True)
def own_answers(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(client, "Retry", lambda: QUICK)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["predict", *map(str, arguments)])
    return end.value.code


def test_lines_are_those_of_a_checkpoint_without_a_score(tmp_path: Path, capsys):
    pictures = make_pictures(tmp_path / "photos", 3)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    out = tmp_path / "out.jsonl"
    with serving() as server:
        asked = ["--endpoint", server.url, "--model", "m"]
        assert run(*asked, tmp_path / "photos") == 0
        assert run(tmp_path / "photos", *asked, "--out", out) == 0
        assert len(server.asked) == 3
    expected = [f"{path}\ta picture of red {number}" for number, path in enumerate(pictures)]
    assert capsys.readouterr().out.splitlines() == expected
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[1] == {"image": str(pictures[1]), "caption": "a picture of red 1"}


def test_what_is_asked_of_each_photo_is_put_into_words(tmp_path: Path, capsys):
    (picture,) = make_pictures(tmp_path, 1)
    out = tmp_path / "out.jsonl"

    def repeat(asked: Asked) -> None:
        asked.say(asked.body["messages"][0]["content"][0]["text"])

    with serving(repeat) as server:
        server_options = ("--endpoint", server.url, "--model", "m", picture)
        for more in (
            ["--ask", "What is it?"],
            ["--ask", "What is it?", "--prompt", "Q: {question}"],
            ["--style", "terse", "--prompt", "Say."],
            ["--language", "zh"],
        ):
            assert run(*server_options, *more) == 0
        lines = capsys.readouterr().out.splitlines()
        assert run(*server_options, "--ask", "What is it?", "--style", "terse", "--out", out) == 0
    assert [line.partition("\t")[2] for line in lines] == [
        "What is it? Answer with one word or a short phrase.",
        "Q: What is it?",
        "Say. Style: terse.",
        "用一句简短的话描述这张图片。",
    ]
    line = json.loads(out.read_text())
    assert (line["question"], line["style"]) == ("What is it?", "terse")
    assert list(line) == ["image", "question", "style", "caption"]


def test_pictures_without_a_caption_are_named_and_the_status_is_1(tmp_path: Path, capsys):
    pictures = make_pictures(tmp_path, 3)
    pictures[0].write_bytes(b"<html>")

    def refuse(asked: Asked) -> None:
        asked.say(None, refusal="No.") if asked.red == 1 else by_color(asked)

    with serving(refuse) as server:
        assert run("--endpoint", server.url, "--model", "m", *pictures) == 1
    shown = capsys.readouterr()
    assert shown.out == f"{pictures[2]}\ta picture of red 2\n"
    assert f"error: {pictures[0]} is no image: it is an HTML page" in shown.err
    assert f"error: {pictures[1]}: the model refuses: No." in shown.err
    assert "2 of 3 images got no caption" in shown.err


def test_an_end_leaves_the_old_file_and_keeps_what_was_answered(tmp_path: Path, capsys):
    out = tmp_path / "out.jsonl"
    out.write_text("old")

    def end(asked: Asked) -> None:
        by_color(asked) if asked.number == 0 else asked.send(401, {"error": {"message": "who?"}})

    with serving(end) as server:
        pictures = make_pictures(tmp_path, 4)
        options = ("--endpoint", server.url, "--model", "m", "--concurrency", 1, "--out", out)
        assert run(*options, *pictures) == 2
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1
    assert "answers 401 Unauthorized (who?)" in capsys.readouterr().err


def everything_below(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("status", [200, 307, 400, 401, 404, 429, 500, 0])
def test_the_key_is_sent_and_shown_nowhere(tmp_path: Path, status: int, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def echo(asked: Asked) -> None:
        got = asked.headers["Authorization"]
        if status == 200:
            asked.say(f"a dog says {got}")
        elif status:
            asked.send(status, f"{got} is wrong, {got}", Location=f"/{got.split()[1]}", X=got)
        else:
            asked.say(None, refusal=got)

    with serving(echo) as server:
        out = tmp_path / "out.jsonl"
        code = run(
            "--endpoint", server.url, "--model", "m", *make_pictures(tmp_path, 2), "--out", out
        )
    assert code == {200: 0, 0: 1}.get(status, 2)
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    shown = capfd.readouterr()
    assert "***" in shown.err + (out.read_text() if out.exists() else "")
    everything = everything_below(tmp_path).decode("latin-1") + shown.out + shown.err
    assert not [i for i in range(len(KEY) - 9) if KEY[i : i + 10] in everything]


def test_a_traceback_shows_no_key_either(tmp_path: Path, capfd, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(sys, "argv", ["captionlab", "--debug"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with (
        serving(lambda asked: asked.send(401, asked.headers["Authorization"])) as server,
        pytest.raises(UserError) as error,
    ):
        main(
            [
                "predict",
                "--endpoint",
                server.url,
                "--model",
                "m",
                str(make_pictures(tmp_path, 1)[0]),
            ]
        )
    assert KEY not in repr(error.getrepr(style="long", chain=True, showlocals=False))
    assert KEY not in str(error.value)


def test_no_key_leaves_this_machine_in_the_open(monkeypatch, capsys):
    from captionlab.cli.endpoint_options import read_endpoint

    def key_for(url: str, *more: str):
        return read_endpoint(
            parser().parse_args(["predict", "--endpoint", url, "--model", "m", *more, "a.jpg"])
        ).key

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_for("https://a.b/v1") is not None
    assert key_for("http://127.0.0.1/v1") is not None
    assert key_for("http://a.b/v1") is None
    assert "OPENAI_API_KEY is not sent to http://a.b/v1" in capsys.readouterr().err
    with pytest.raises(UserError, match="plain http to another machine"):
        key_for("http://a.b/v1", "--key-variable", "OPENAI_API_KEY")
    assert key_for("http://a.b/v1", "--send-key-unencrypted") is not None


def test_no_proxy_sees_what_stays_on_this_machine(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as proxy, serving() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert run("--endpoint", server.url, "--model", "m", make_pictures(tmp_path, 1)[0]) == 0
        assert len(server.asked) == 1
        assert not proxy.asked


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--endpoint", "http://a/v1", "a.jpg"], "--endpoint needs --model NAME"),
        (["x.ckpt", "a.jpg", "--model", "m"], "--model is of a server"),
        (["x.ckpt", "a.jpg", "--parameter", "seed=1"], "--parameter is of a server"),
        (
            ["--endpoint", "http://a/v1", "--model", "m", "--set", "decoding=beam", "--", "a"],
            "--set",
        ),
        (
            ["--endpoint", "http://a/v1", "--model", "m", "--device", "cpu", "a"],
            "--device is about",
        ),
        (
            ["--endpoint", "http://a/v1", "--model", "m", "--begin", "a", "x"],
            "--begin cannot be had",
        ),
        (
            ["--endpoint", "http://a/v1", "--model", "m", "--prompt", "{question}", "x.jpg"],
            "--prompt has a place for {question}, and nothing stands there without --ask",
        ),
        (["--endpoint", "http://a/v1", "--model", "m", "nowhere.jpg"], "There is no file"),
        (["--endpoint", "a", "--model", "m", "a.jpg"], "--endpoint wants an address"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], part: str, capsys):
    assert run(*arguments) == 2
    assert f"error: {part}" in capsys.readouterr().err


def test_kept_answers_that_cannot_be_used_are_one_line(tmp_path: Path, capsys):
    pictures = make_pictures(tmp_path, 3)
    with serving() as server:
        asked = ("--endpoint", server.url, "--model", "m", *pictures)
        assert run(*asked) == 0
        for path in (tmp_path / "cache").rglob("*.json"):
            path.write_text("{")
        capsys.readouterr()
        assert run(*asked) == 0
        assert len(server.asked) == 6
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on_and_asks_nothing_again(tmp_path: Path, ending):
    pictures = make_pictures(tmp_path / "photos", 6)
    free, reached = threading.Event(), threading.Event()

    def stall(asked: Asked) -> None:
        if asked.number == 3 and not free.is_set():
            reached.set()
            free.wait(timeout=HANG)
            raise OSError
        by_color(asked)

    with serving(stall) as server:
        program = [sys.executable, "-m", "captionlab", "predict", "--endpoint", server.url]
        program += ["--model", "m", "--concurrency", "1", str(tmp_path / "photos")]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(program, **out, env=dict(os.environ))
        assert reached.wait(timeout=HANG)
        process.send_signal(ending)
        shown, errors = process.communicate(timeout=30)  # the server has not answered yet
        assert process.returncode == (1 if ending == signal.SIGINT else -ending)
        assert shown.splitlines() == [f"{pictures[i]}\ta picture of red {i}" for i in range(3)]
        assert "Traceback" not in errors
        if ending == signal.SIGINT:
            assert "interrupted: 3 of 6 images are done" in errors
        free.set()
        done = subprocess.run(program, **out, timeout=HANG, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 6
    assert [asked.red for asked in server.asked] == [0, 1, 2, 3, 3, 4, 5]
