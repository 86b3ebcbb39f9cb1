"""Bodies of requests: read with a bound, taken apart with bounds on their parts, depth and names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from captionlab.applications.serve.http import ApiError, overloaded

MOST_PARTS = 64
MOST_HEADER_BYTES = 4096  # of a part
MOST_FIELD_BYTES = 64 * 1024  # of a part that is no file
# a body of small values takes many times its bytes in memory
MOST_JSON_VALUES = 20_000
_SEPARATORS = (b",", b"[", b"{")
IMAGE_FIELDS = ("image", "images")


@dataclass
class Form:
    """A multipart body: pictures in their order, and the texts of each other field."""

    images: list[bytes] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Part:
    header: bytearray = field(default_factory=bytearray)
    headers: dict[str, bytes] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @cached_property
    def names(self) -> dict[bytes, bytes]:  # asked for again for every piece of the data
        return parse_options_header(self.headers.get("content-disposition", b""))[1]


class BodyReader:
    """Reads bodies whose sum is bounded; the guard bounds each.

    Args:
        most: bytes of all bodies that are held at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes]:
        """Give a request's whole body, which counts until the block ends.

        Raises:
            ApiError: 503 where others hold too much.
        """
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                self._held += len(chunk)
                if self._held > self._most:
                    raise overloaded("too many large requests are being served; come again")
            yield bytes(body)
        finally:
            self._held -= len(body)


def parse_json(body: bytes) -> Any:
    """Return the values of a JSON body.

    Raises:
        ApiError: for what is no JSON, is nested too deeply or holds too many values.
    """
    if sum(map(body.count, _SEPARATORS)) > MOST_JSON_VALUES:
        raise ApiError(400, f"the body holds more than {MOST_JSON_VALUES:,} JSON values")
    try:
        return json.loads(body)
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise ApiError(400, f"the body is no JSON: {error}"[:300]) from None


def parse_form(body: bytes, content_type: str) -> Form:
    """Return the parts of a multipart body.

    Raises:
        ApiError: for a damaged one, and for too many or too large parts.
    """
    reader = _FormReader()
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise ApiError(400, "the body has Content-Type multipart/form-data without a boundary")
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except ApiError:
        raise
    except (FormParserError, ValueError) as error:
        raise ApiError(400, f"the multipart body is damaged: {error}"[:300]) from None
    if not reader.complete:
        raise ApiError(400, "the multipart body is cut off before its last boundary")
    return reader.form


class _FormReader:
    """Takes what a parser finds, and stops it where a bound is passed."""

    def __init__(self) -> None:
        self.form = Form()
        self.complete = False
        self._parts = 0
        self._part = _Part()
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._head(self._name, data, start, end),
            "on_header_value": lambda data, start, end: self._head(self._value, data, start, end),
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise ApiError(400, f"the multipart body has more than {MOST_PARTS} parts")
        self._part = _Part()

    def _head(self, into: bytearray, data: bytes, start: int, end: int) -> None:
        into += data[start:end]
        self._part.header += data[start:end]
        if len(self._part.header) > MOST_HEADER_BYTES:
            raise ApiError(
                400,
                f"a part of the multipart body has headers of more than {MOST_HEADER_BYTES} bytes",
            )

    def _header_end(self) -> None:
        self._part.headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.data += data[start:end]
        if b"filename" not in part.names and len(part.data) > MOST_FIELD_BYTES:
            name = _text(part.names.get(b"name", b""))
            raise ApiError(
                400,
                f"{name}: {MOST_FIELD_BYTES:,} bytes are the most of a field; send a picture as a file",
                param=name,
            )

    def _end(self) -> None:
        name = _text(self._part.names.get(b"name", b""))
        if name in IMAGE_FIELDS and b"filename" in self._part.names:
            self.form.images.append(bytes(self._part.data))
        else:
            value = _text(bytes(self._part.data), name)
            self.form.fields.setdefault(name, []).append(value)

    def _all(self) -> None:
        self.complete = True


def _text(data: bytes, field: str | None = None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if field is None:
            raise ApiError(400, f"a field is called {data[:20]!r}, which is no UTF-8") from None
        message = f"{field}: this is no text in UTF-8; a picture is sent as the file of image"
        raise ApiError(400, message, param=field) from None
