"""Which server is asked: an address that was looked at, a model, parameters of generation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from captionlab.applications import loopback
from captionlab.applications.endpoint.secret import DEFAULT_VARIABLE, Secret
from captionlab.core.errors import UserError

PARAMETERS: Mapping[str, Any] = {"temperature": 0, "max_tokens": 128}
# of a request, what is set by captionlab itself
OWN = {
    "model": "--model sets it",
    "messages": "--prompt sets them",
    "stream": "an answer is read as a whole",
    "n": "one caption of each picture is asked for",
}
LONGEST_PROMPT = 20_000  # characters


@dataclass(frozen=True)
class Endpoint:
    """A server, its model and how that is asked.

    Args:
        url: as ``read_url`` returns it. model: its name there.
        parameters: of generation, sent as they are.
        max_side: pixels; the long side of a larger picture becomes that.
        concurrency: requests at a time. timeout: seconds for one whole answer.
        key: sent with each request, None for none.
    """

    url: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(PARAMETERS))
    max_side: int = 1024
    concurrency: int = 4
    timeout: float = 120.0
    key: Secret | None = None

    def __post_init__(self) -> None:
        _require_between("--max-side", self.max_side, 16, 8192)
        _require_between("--concurrency", self.concurrency, 1, 64)
        _require_between("--timeout", self.timeout, 1, 3600)
        require_text("--model", self.model)
        self.require_keyless(json.dumps(self.question, ensure_ascii=False))

    def require_keyless(self, text: str) -> None:
        """Refuse a text that would be written down with the key in it.

        Raises:
            UserError: if it holds the key.
        """
        if self.key is not None and self.key.is_in(text):
            raise UserError(
                "the key stands among what is asked (--endpoint, --model, --prompt, --parameter or a "
                "question), which is written into files: take it out, the header alone sends it"
            )

    @property
    def question(self) -> dict[str, object]:
        """What, beside picture and prompt, decides an answer: plain JSON types, without the key."""
        return {
            "endpoint": self.url,
            "model": self.model,
            "parameters": dict(sorted(self.parameters.items())),
            "max_side": self.max_side,
        }


def read_url(text: str) -> str:
    """Return the base address of a server, without what is added to it.

    Raises:
        UserError: if it is no http(s) address, or holds a password, a query or a fragment: what
            stands in an address is written into files.
    """
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL("")
    port = -1 if url.port is None else url.port
    if url.scheme not in ("http", "https") or not _is_host(url.host) or port > 65535 or port == 0:
        raise UserError(
            "--endpoint wants an address such as http://127.0.0.1:8000/v1 or https://HOST/v1"
        )
    # an empty query or fragment too: it would swallow what is put behind the address
    if url.userinfo or any(sign in str(url) for sign in "@?#"):
        raise UserError(
            "--endpoint holds more than an address (a name, a password, ?... or #...), which would be "
            f"written into files: give the address alone, and the key as {DEFAULT_VARIABLE}"
        )
    return str(url).rstrip("/").removesuffix("/chat/completions").rstrip("/")


def _is_host(host: str) -> bool:
    """Return whether a name can be looked up: what the system's resolver takes."""
    try:
        return bool(host) and len(host.encode("idna")) <= 253
    except UnicodeError:
        return False


def is_loopback(url: str) -> bool:
    """Return whether an address leads to this machine, by its name: nothing is resolved."""
    return loopback.is_loopback(httpx.URL(url).host)


def is_private(url: str) -> bool:
    """Return whether nobody on the way can read what is sent: TLS, or this machine."""
    return httpx.URL(url).scheme == "https" or is_loopback(url)


def read_parameters(given: list[str]) -> dict[str, Any]:
    """Return the parameters of generation: the usual ones, and those given as ``KEY=VALUE``.

    A value is JSON where it can be read so, else a text; null takes a parameter out.

    Raises:
        UserError: for what is no ``KEY=VALUE``, and for a key that is set otherwise.
    """
    parameters = dict(PARAMETERS)
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"--parameter {one!r:.80} is no KEY=VALUE, such as temperature=0.7")
        if key in OWN:
            raise UserError(f"--parameter {key} is not for a user to set: {OWN[key]}")
        parameters[key] = _value(value)
        if not _is_unicode(str(parameters[key])) or _has_no_number(parameters[key]):
            raise UserError(f"--parameter {key}: its value cannot be sent as JSON in UTF-8")
    return {key: value for key, value in parameters.items() if value is not None}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def require_text(name: str, text: str) -> None:
    """Check what is sent as a text.

    Raises:
        UserError: if it is empty, far too long, or cannot be sent as UTF-8.
    """
    if not text.strip() or len(text) > LONGEST_PROMPT or not _is_unicode(text):
        raise UserError(f"{name} must be a text of 1 to {LONGEST_PROMPT:,} characters in UTF-8")


def _has_no_number(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return True
    return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _require_between(option: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise UserError(f"{option} {value:g} must be from {low:g} to {high:g}")
