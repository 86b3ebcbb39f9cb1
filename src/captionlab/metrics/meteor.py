"""METEOR through pycocoevalcap's jar: one Java process a run, which can neither hang nor end it.

Source: Denkowski and Lavie 2014, "Meteor Universal"; METEOR 1.5 with coco-caption's options.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import math
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from captionlab.core.errors import Notice, UserError, did_you_mean

_OPTIONS = {
    "en": ["-l", "en", "-norm"],
    # pycocoevalcap's jar has German stems, and no German paraphrases, which METEOR asks for unless told
    "de": ["-l", "de", "-norm", "-m", "exact stem"],
    "other": ["-l", "other", "-lower"],
}
# those whose words METEOR knows
METEOR_LANGUAGES = tuple(sorted(_OPTIONS.keys() - {"other"}))
_T = TypeVar("_T")
_STATISTICS = re.compile(r"[-+0-9.Ee]+( [-+0-9.Ee]+)*")


class MeteorError(Exception):
    """METEOR gave no usable answer; says what happened and, where something helps, what to do."""


class Meteor:
    """METEOR in a background Java process that lives until ``close()`` or the end of the program.

    The first failure (no Java, no jar, a crash, an answer that is late or makes no sense) gives one
    warning; from then on every score is None and nothing is started again.

    Args:
        language: "en" (stems, synonyms and paraphrases count), "de" (stems count), or "other"
            (equal words only).
        timeout: longest wait in seconds for one line of an answer, the start of Java included.
        memory: largest heap of the Java process, in Java's notation.
    """

    def __init__(self, *, language: str = "en", timeout: float = 120.0, memory: str = "2G") -> None:
        if language not in _OPTIONS:
            raise UserError(
                f"METEOR has no language {language!r} here: {did_you_mean(language, _OPTIONS)}"
            )
        if not timeout > 0:
            raise UserError(f"METEOR's timeout is {timeout!r}; it must be some seconds, above 0")
        self._language, self._timeout, self._memory = language, timeout, memory
        self._process: _JarProcess | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self.failure: str | None = None

    def __reduce__(self) -> tuple[Callable[..., Meteor], tuple[str, float, str]]:
        # a copy in another process (spawn, deepcopy of a module) starts its own Java
        return _rebuild, (self._language, self._timeout, self._memory)

    def __enter__(self) -> Meteor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def available(self) -> bool:
        """False once METEOR has failed."""
        return self.failure is None

    def start(self) -> None:
        """Start Java and return at once; its 5 seconds of loading then overlap with other work."""
        with self._lock:
            self._attempt(self._running)

    def score(
        self, candidates: Sequence[str], references: Sequence[Sequence[str]]
    ) -> tuple[float, np.ndarray] | None:
        """Return METEOR of the corpus and of each candidate (C,), in 0..1; None if unavailable.

        Both hold tokenized text (tokens joined by a space); ``references[i]`` are candidate i's.
        """
        if len(candidates) != len(references):
            raise ValueError(f"{len(candidates)} captions but references for {len(references)}")
        if not candidates:
            raise ValueError("METEOR of no captions is not defined")
        with self._lock:
            return self._attempt(lambda: _score(self._running(), candidates, references))

    def close(self) -> None:
        """End the Java process, if one runs. A later ``score`` starts another."""
        atexit.unregister(self.close)
        process, self._process = self._process, None
        if process is not None and os.getpid() == self._owner:
            process.kill()

    def _running(self) -> _JarProcess:
        if self._process is None or os.getpid() != self._owner:
            self._owner = os.getpid()
            self._process = _JarProcess(_command(self._language, self._memory), self._timeout)
            atexit.register(self.close)
        return self._process

    def _attempt(self, action: Callable[[], _T]) -> _T | None:
        if self.failure is not None:
            return None
        try:
            return action()
        except MeteorError as failure:
            self.failure = str(failure)
            self.close()
            warnings.warn(f"METEOR is left out from here on: {failure}", Notice, stacklevel=4)
            return None
        except BaseException:
            # an exchange cut off in its middle (Ctrl-C) leaves answers that belong to nobody
            self.close()
            raise


def _rebuild(language: str, timeout: float, memory: str) -> Meteor:
    return Meteor(language=language, timeout=timeout, memory=memory)


def _command(language: str, memory: str) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise MeteorError(
            "there is no `java` on the PATH; install a Java runtime, version 8 or newer "
            "(Debian, Ubuntu: apt install default-jre-headless; conda: openjdk)"
        )
    package = importlib.util.find_spec("pycocoevalcap")
    for folder in (package.submodule_search_locations or []) if package else []:
        jar = Path(folder, "meteor", "meteor-1.5.jar")
        paraphrases = jar.parent / "data" / "paraphrase-en.gz"
        if jar.is_file() and paraphrases.is_file():
            jar, paraphrases = _readable_by_java(jar, paraphrases)
            # METEOR's own look-up fails where the path holds a space; a path given does not
            tables = ["-a", str(paraphrases)] if language == "en" else []
            return [java, *_java_options(memory), "-jar", str(jar), "-", "-", "-stdio"] + (
                _OPTIONS[language] + tables
            )
    raise MeteorError("meteor-1.5.jar is not installed; it comes with: pip install pycocoevalcap")


def _readable_by_java(jar: Path, paraphrases: Path) -> tuple[Path, Path]:
    """Return paths of the two files in letters that Java can read in any locale.

    In the C locale, and where there is no UTF-8 one, Java takes a path with other letters for another
    path. A jar behind a link is looked for where it really is, so it is copied (6 MB); the table is
    opened by the name that it is given.
    """
    if str(jar).isascii():
        return jar, paraphrases
    folder = Path(tempfile.mkdtemp(prefix="captionlab-meteor-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = folder / paraphrases.name
    link.symlink_to(paraphrases.absolute())
    return Path(shutil.copy(jar, folder)), link


def _java_options(memory: str) -> list[str]:
    # decimal points in any locale; one thread collects garbage, for the cores are training's
    locale = ["-Duser.language=en", "-Duser.country=US", "-Dfile.encoding=UTF-8"]
    return [f"-Xmx{memory}", "-XX:+UseSerialGC", *locale]


def _score(
    process: _JarProcess, candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[float, np.ndarray]:
    lines = [
        " ||| ".join(("SCORE", *map(_clean, texts), _clean(candidate)))
        for candidate, texts in zip(candidates, references, strict=True)
    ]
    statistics = process.exchange(lines, len(lines))
    for line in statistics:
        if not _STATISTICS.fullmatch(line):
            raise MeteorError(f"it answered {line[:200]!r} where numbers were expected")
    answers = process.exchange([" ||| ".join(("EVAL", *statistics))], len(lines) + 1)
    scores = [_number(answer) for answer in answers]
    return scores[-1], np.array(scores[:-1])


def _clean(text: str) -> str:
    """Return the text on one line and without the protocol's separator."""
    return " ".join(text.replace("|||", "").splitlines())


def _number(answer: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(answer)):
            return number
    raise MeteorError(f"it answered {answer[:200]!r} where a score was expected")


class _JarProcess:
    """A child process that answers lines with lines, each within ``timeout`` seconds."""

    def __init__(self, command: list[str], timeout: float) -> None:
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=tempfile.gettempdir(),  # a crash report of Java then litters no project
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C is for the training, which still wants its scores
            )
        except OSError as error:
            self._errors.close()
            raise MeteorError(f"{command[0]} did not start: {error}") from None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert self._process.stdout is not None
        _in_background(_read_lines, self._process.stdout, self._answers)

    def exchange(self, lines: list[str], answers: int) -> list[str]:
        """Return that many lines of answer; MeteorError if one is late or never comes."""
        if not self._answers.empty():
            raise MeteorError(f"it answered {self._answer()[:200]!r} without being asked")
        # written in the background: Java stops reading while its answers are not read
        payload = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="replace")
        assert self._process.stdin is not None
        _in_background(_write, self._process.stdin, payload)
        return [self._answer() for _ in range(answers)]

    def kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._errors.close()
        with contextlib.suppress(OSError, ValueError):  # words it did not read any more
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _answer(self) -> str:
        try:
            answer = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            raise MeteorError(f"Java gave no answer for {self._timeout:g} seconds") from None
        if answer is None:
            raise MeteorError(f"Java ended by itself: {self._last_error()}")
        return answer

    def _last_error(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4000))
        lines = self._errors.read().decode(errors="replace").splitlines()
        reasons = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
        return (reasons[-1] if reasons else f"exit status {self._process.returncode}")[:300]


def _in_background(action: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=action, args=arguments, daemon=True).start()


def _read_lines(stream: IO[bytes], answers: queue.SimpleQueue[str | None]) -> None:
    with contextlib.suppress(OSError, ValueError), stream:
        for line in stream:
            answers.put(line.decode(errors="replace").strip())
    answers.put(None)


def _write(stream: IO[bytes], payload: bytes) -> None:
    # a process that is gone shows at the reading end
    with contextlib.suppress(OSError, ValueError):
        stream.write(payload)
        stream.flush()
