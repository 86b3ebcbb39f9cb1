"""A server's answers, read as a stranger's: one line of text, or why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from captionlab.applications.endpoint.secret import Secret
from captionlab.core.errors import UserError

LONGEST_CAPTION = 10_000  # characters
LONGEST_WORDS = 300  # characters of what a server says about an error
# a blank in place of control characters and half characters; nothing in place of what turns the
# direction of a line, or cannot be seen (joiners, which emoji and Persian need, stay)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class NoCaption(UserError):  # noqa: N818 - read as a sentence
    """A picture of which the server gave no caption; the sentence says why."""


class NoAnswer(Exception):  # noqa: N818
    """What came is no answer of such a server at all."""


def clean(text: str, key: Secret | None) -> str:
    """Return a stranger's text as one line without control characters, and without the key."""
    line = " ".join(_UNSEEN.sub("", _CONTROL.sub(" ", text)).split())
    return line if key is None else key.hide(line)


def clean_words(text: str, key: Secret | None) -> str:
    """Return a stranger's message as ``clean`` does, without a short key too."""
    line = clean(text, key)
    return line if key is None else key.hide_short(line)


def read_caption(body: bytes, key: Secret | None) -> str:
    """Return the caption in the body of a chat completion; what a model thinks first is no part of it.

    Raises:
        NoCaption: if the model refused, or said nothing, or far too much.
        NoAnswer: if the body is no JSON object, or holds an error in place of an answer.
    """
    content = _object(body)
    if content is None:
        raise NoAnswer(f"no JSON object ({server_words(body, key) or 'nothing'})")
    choices = content.get("choices")
    if not isinstance(choices, list) and content.get("error"):
        raise NoAnswer(f"an error ({server_words(body, key)})")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise NoCaption("the answer holds no choices with a message")
    caption = clean(_without_thoughts(_text(message.get("content"))), key)
    if not caption:
        raise NoCaption(_why_nothing(choice, message, key))
    if len(caption) > LONGEST_CAPTION:
        raise NoCaption(f"an answer of {len(caption):,} characters is no caption")
    return caption


def server_words(body: bytes, key: Secret | None) -> str:
    """Return what a server says about an error, cleaned, without the key, and shortened."""
    text = body.decode("utf-8", errors="replace")
    content = _object(body)
    if content is not None:
        error = content.get("error")
        places = (error, content) if isinstance(error, dict) else (content,)
        names = ("message", "error", "detail")
        found = (place.get(name) for place in places for name in names)
        text = next((one for one in found if isinstance(one, str) and one.strip()), text)
    words = clean_words(text, key)
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def _why_nothing(choice: Mapping[str, Any], message: Mapping[str, Any], key: Secret | None) -> str:
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return f"the model refuses: {clean_words(refusal, key)[:LONGEST_WORDS]}"
    if choice.get("finish_reason") == "content_filter":
        return "the server's filter held the answer back"
    if choice.get("finish_reason") == "length":
        return "the answer ended before its first word (a model that thinks?): --parameter max_tokens=2000"
    return "the answer is empty"


def _without_thoughts(text: str) -> str:
    """Return what a model says behind its thoughts, nothing if it never came to their end.

    The beginning of thoughts may be missing: some servers put it into what the model is asked.
    """
    _, end, rest = text.partition("</think>")
    if end:
        return rest
    return "" if text.lstrip().startswith("<think>") else text


def _text(content: object) -> str:
    """Return a message's text: it is one, or comes in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(one for one in texts if isinstance(one, str))


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
