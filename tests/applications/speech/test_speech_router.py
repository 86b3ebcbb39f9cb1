"""``POST /v1/speech``: sound for a text, one sentence for anything else."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from captionlab.applications.serve.http import add_error_handlers
from captionlab.applications.speech import router as speech
from captionlab.applications.speech.voices import wav


class Beep:
    """A voice of a tenth of a second, which waits where it is told to."""

    languages = ("en", "zh")

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def speak(self, text: str, language: str) -> bytes:
        self.begun.release()
        assert self.go_on.wait(20)
        return wav(b"", 16_000)


def client(*voices: Beep) -> TestClient:
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(speech.speech_router(voices))
    return TestClient(app)


def test_a_text_becomes_a_wav_file():
    answer = client(Beep()).post("/v1/speech", json={"text": "a dog", "language": "en-GB"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.content[:4] == b"RIFF"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": ""}, "text"),
        ({"text": "x" * 1001}, "text"),
        ({"language": "en"}, "text"),
        ({"text": "a", "language": "e" * 36}, "language"),
        ({"text": "a", "voice": "/etc/passwd"}, "voice"),
    ],
)
def test_what_is_wrong_is_named(body, param):
    answer = client(Beep()).post("/v1/speech", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("voices", "sentence"),
    [([], "no voice is installed here"), ([Beep()], "no voice here speaks it")],
)
def test_a_missing_voice_is_one_sentence(voices, sentence):
    answer = client(*voices).post("/v1/speech", json={"text": "ein Hund", "language": "de"})
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


def test_many_at_once_are_asked_to_come_again():
    voice = Beep()
    voice.go_on.clear()
    with client(voice) as asking:
        codes: list[int] = []

        def ask() -> None:
            codes.append(asking.post("/v1/speech", json={"text": "a dog"}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(speech.MOST_AT_ONCE)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert voice.begun.acquire(timeout=20)
        refused = asking.post("/v1/speech", json={"text": "a dog"})
        voice.go_on.set()
        for thread in threads:
            thread.join()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert codes == [200] * speech.MOST_AT_ONCE
