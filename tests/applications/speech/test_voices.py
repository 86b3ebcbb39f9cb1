"""Reading aloud: which voice speaks, what is refused, and that the sound is sound."""

from __future__ import annotations

import io
import shutil
import wave

import numpy as np
import pytest

from captionlab.applications.speech import espeak_voice, piper_voice
from captionlab.applications.speech.voices import installed_voices, speak, speakable, wav
from captionlab.core.errors import UserError

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="no espeak-ng")


class Recorder:
    """A voice that keeps what it is asked to speak."""

    def __init__(self, *languages: str):
        self.languages = languages
        self.spoken: list[tuple[str, str]] = []

    def speak(self, text: str, language: str) -> bytes:
        self.spoken.append((text, language))
        return wav(bytes(200), 16_000)


def samples(audio: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(audio)) as reader:
        frames = reader.readframes(reader.getnframes())
        assert len(frames) == 2 * reader.getnframes()
    return np.frombuffer(frames, np.int16)


@pytest.mark.parametrize(
    ("language", "spoken_as"), [("en-US", "en"), ("EN", "en"), ("pt_BR", "pt-br"), ("pt", "pt")]
)
def test_the_nearest_language_is_spoken(language, spoken_as):
    voice = Recorder("en", "pt", "pt-br")
    speak("a dog", language, [voice])
    assert voice.spoken == [("a dog", spoken_as)]


def test_the_first_voice_of_a_language_speaks_it():
    better, other = Recorder("en"), Recorder("en", "de")
    speak("ein Hund", "de", [better, other])
    speak("a dog", "en", [better, other])
    assert (better.spoken, other.spoken) == ([("a dog", "en")], [("ein Hund", "de")])


def test_nothing_in_a_text_commands_the_engine():
    assert speakable("a [[h@loU]]\x00\x1b dog\r\n\u0085runs") == "a [ [h@loU]] dog runs"


@pytest.mark.parametrize(
    ("text", "language", "voices", "sentence"),
    [
        ("x" * 1001, "en", [Recorder("en")], "1,001 characters; at most 1,000"),
        (" \n\x00", "en", [Recorder("en")], "nothing in it to read"),
        ("a dog", "en", [], r"no voice is installed here: .*captionlab\[speech\]"),
        (
            "a dog",
            "--stdout",
            [Recorder("en", "de")],
            "no voice here speaks it; choose from de, en",
        ),
        ("a dog", "", [Recorder("en")], "no voice here speaks it"),
    ],
)
def test_what_cannot_be_read_aloud_is_refused(text, language, voices, sentence):
    with pytest.raises(UserError, match=sentence):
        speak(text, language, voices)


@needs_espeak
@pytest.mark.parametrize(
    ("text", "language"), [("ein Hund", "de"), ("一只狗", "zh"), ("--help", "fr")]
)
def test_espeak_speaks_many_languages(text, language):
    voice = espeak_voice.espeak_voice()
    spoken = samples(voice.speak(text, language))
    assert 4_000 < len(spoken) < 200_000
    assert np.abs(spoken).max() > 1_000


@needs_espeak
def test_espeak_that_hangs_is_ended(monkeypatch, tmp_path):
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(espeak_voice, "TIME_LIMIT", 0.2)
    voice = espeak_voice.EspeakVoice(str(program), frozenset(["en"]))
    with pytest.raises(RuntimeError, match="could not speak"):
        voice.speak("a dog", "en")


def test_no_language_that_is_not_listed_becomes_an_argument():
    with pytest.raises(ValueError, match="does not speak"):
        espeak_voice.EspeakVoice("true", frozenset(["en"])).speak("a dog", "--stdout")


def test_without_engines_there_are_no_voices(monkeypatch):
    monkeypatch.setattr(espeak_voice.shutil, "which", lambda name: None)
    monkeypatch.setattr(piper_voice.importlib.util, "find_spec", lambda name: None)
    assert installed_voices() == []


@pytest.mark.slow
def test_a_packaged_voice_speaks_english():
    voices = piper_voice.piper_voices()
    if not voices:
        pytest.skip("no piper voice is installed")
    spoken = samples(voices[0].speak("A dog runs on the grass.", "en"))
    assert 0.8 < len(spoken) / 22_050 < 5
    assert np.abs(spoken).max() > 3_000
    with pytest.raises(UserError, match="too long to read aloud"):
        voices[0].speak("㎓" * 1_000, "en")
