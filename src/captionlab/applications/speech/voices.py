"""The voices that are installed, and which of them speaks a language."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Collection, Sequence
from typing import Protocol

from captionlab.core.errors import UserError, did_you_mean

LONGEST_TEXT = 1_000  # characters, about a minute of speech
INSTALL = (
    "install one with pip install 'captionlab[speech]' (English), or espeak-ng with the system"
)
# both engines would read what stands in [[ ]] as phonemes; control characters are nobody's words
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]|(?<=\[)(?=\[)")


class Voice(Protocol):
    """A voice: ``speak`` returns a text (as ``speakable`` makes it) as the bytes of a WAV file."""

    @property
    def languages(self) -> Collection[str]:
        """What it speaks: "en", "pt-br" ..., in lower case."""

    def speak(self, text: str, language: str) -> bytes:
        """Return the text, spoken in one of the voice's languages, as the bytes of a WAV file."""


def installed_voices() -> list[Voice]:
    """Return the voices that are installed, the better first; none is loaded before it speaks."""
    from captionlab.applications.speech.espeak_voice import espeak_voice
    from captionlab.applications.speech.piper_voice import piper_voices

    espeak = espeak_voice()
    return [*piper_voices(), *([espeak] if espeak else [])]


def speak(text: str, language: str, voices: Sequence[Voice]) -> bytes:
    """Return a text as the bytes of a WAV file.

    Raises:
        UserError: for an empty or too long text, where no voice is installed, and for a language
            that none of them speaks.
    """
    if len(text) > LONGEST_TEXT:
        raise UserError(f"text: {len(text):,} characters; at most {LONGEST_TEXT:,} are read aloud")
    text = speakable(text)
    if not text:
        raise UserError("text: there is nothing in it to read aloud")
    if not voices:
        raise UserError(f"no voice is installed here: {INSTALL}")
    # "en-US" of a browser is spoken by "en" where nothing nearer is there
    wanted = language.strip().lower().replace("_", "-")
    for name in (wanted, wanted.partition("-")[0]):
        for voice in voices:
            if name in voice.languages:
                return voice.speak(text, name)
    known = {name for voice in voices for name in voice.languages}
    raise UserError(
        f"language {language[:40]!r}: no voice here speaks it; {did_you_mean(wanted, known)}"
    )


def speakable(text: str) -> str:
    """Return a text in one line, without what an engine would take for a command."""
    return " ".join(_UNSPEAKABLE.sub(" ", text).split())


def wav(frames: bytes, rate: int) -> bytes:
    """Return 16-bit samples of one channel as the bytes of a WAV file, short silence for none."""
    frames = frames or bytes(2 * (rate // 10))  # a browser refuses a file without samples
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(frames)
    return file.getvalue()
