"""espeak-ng, the small synthesizer of many languages, where the system has it."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import wave

from captionlab.applications.speech.voices import wav

TIME_LIMIT = 20.0  # seconds
# "Pty Language Age/Gender VoiceName File Other languages": " 5  cmn  --/M  ...  sit/cmn  (zh 5)"
_LANGUAGE = re.compile(r"^\s*\d+\s+(\S+)")
_OTHER = re.compile(r"\(([a-z-]+) \d+\)")


class EspeakVoice:
    """The program espeak-ng: started for each text, which it reads from its standard input."""

    def __init__(self, program: str, languages: frozenset[str]) -> None:
        self.program = program
        self.languages = languages

    def speak(self, text: str, language: str) -> bytes:
        """Return the text as the bytes of a WAV file.

        Raises:
            RuntimeError: if the program fails, or takes longer than ``TIME_LIMIT``.
        """
        if language not in self.languages:  # it becomes an argument
            raise ValueError(f"espeak-ng does not speak {language!r}")
        command = [self.program, "-b", "1", "-v", language, "--stdin", "--stdout"]
        try:
            done = subprocess.run(
                command, input=text.encode(), capture_output=True, timeout=TIME_LIMIT, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RuntimeError(f"espeak-ng could not speak: {error}") from error
        return _with_length(done.stdout)


def espeak_voice() -> EspeakVoice | None:
    """Return espeak-ng with the languages that it lists, None where it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--voices"], capture_output=True, timeout=TIME_LIMIT, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    languages: set[str] = set()
    for line in done.stdout.splitlines()[1:]:
        if match := _LANGUAGE.match(line):
            languages |= {match[1].lower(), *_OTHER.findall(line)}
    return EspeakVoice(program, frozenset(languages))


def _with_length(streamed: bytes) -> bytes:
    """Return a WAV file whose header tells its length: one that was streamed claims two gigabytes."""
    with wave.open(io.BytesIO(streamed)) as reader:
        return wav(reader.readframes(reader.getnframes()), reader.getframerate())
