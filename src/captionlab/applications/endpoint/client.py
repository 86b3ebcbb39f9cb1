"""One picture, one request to ``URL/chat/completions``: retried where that may help, bounded always."""

from __future__ import annotations

import asyncio
import http
import json
import os
import socket
import ssl
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self

import httpx

from captionlab import __version__
from captionlab.applications.endpoint.answers import (
    NoAnswer,
    clean_words,
    read_caption,
    server_words,
)
from captionlab.applications.endpoint.retry import (
    Retry,
    TemporaryError,
    is_temporary,
    read_retry_after,
)
from captionlab.applications.endpoint.secret import DEFAULT_VARIABLE
from captionlab.applications.endpoint.settings import Endpoint, is_loopback
from captionlab.core.errors import UserError, first_line

LARGEST_ANSWER = 2**20  # bytes: an answer with all that a model thought
LARGEST_ERROR = 2**16
LONGEST_CONNECT = 15.0  # seconds
HINTS = {
    400: "see --parameter and --prompt, and whether this model reads pictures",
    401: f"set {DEFAULT_VARIABLE}, or name another variable with --key-variable",
    403: "the key may not use this model",
    404: "look at --model, and at --endpoint, which ends in /v1 on most servers",
    405: "look at --endpoint, which ends in /v1 on most servers",
    413: "say a smaller --max-side",
    422: "see --parameter and --prompt, and whether this model reads pictures",
}


class Client:
    """Asks a server for captions; used as ``async with``.

    Args:
        endpoint: the server and what it is asked. retry: when and how often again.
        on_wait: called with a sentence when a request has to wait for the first time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        retry: Retry | None = None,
        on_wait: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._endpoint = endpoint
        self._retry = retry or Retry()
        self._on_wait: Callable[[str], None] | None = on_wait
        self._reached = False  # whether the server has ever answered
        local = is_loopback(endpoint.url)
        try:
            self._http = httpx.AsyncClient(
                headers={
                    "User-Agent": f"captionlab/{__version__}",
                    # what is compressed has no bound that can be seen
                    "Accept-Encoding": "identity",
                    "Content-Type": "application/json",
                    **({} if endpoint.key is None else endpoint.key.header()),
                },
                timeout=httpx.Timeout(
                    endpoint.timeout, connect=min(LONGEST_CONNECT, endpoint.timeout)
                ),
                limits=httpx.Limits(max_connections=endpoint.concurrency),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is kept
                follow_redirects=False,  # the key is for this server alone
                trust_env=not local,  # a proxy would read what never leaves this machine
            )
        except (ImportError, ValueError, OSError) as error:
            reason = clean_words(first_line(error), endpoint.key)
            raise UserError(f"the environment's proxy or certificates: {reason}") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def ask(self, text: str, data_uri: str) -> str:
        """Return the answer to what is asked about one picture.

        Raises:
            NoCaption: if this picture gets none.
            UserError: if no picture will get one: a wrong key, model or address, a server that is
                not there, or one that fails as often as it is tried.
        """
        request = self._request(text, data_uri)
        for failures in range(1, self._retry.tries + 1):
            try:
                async with asyncio.timeout(self._endpoint.timeout):
                    return await self._send(request)
            except TimeoutError:
                why = TemporaryError(f"gives no answer within {self._endpoint.timeout:g} s")
            except TemporaryError as error:
                why = error
            if failures < self._retry.tries:
                seconds = self._retry.delay(failures, why.asked)
                if self._on_wait is not None:
                    self._on_wait(
                        f"{self._endpoint.url} {why}; asked again in {seconds:.1f} s, "
                        f"{self._retry.tries} times at most"
                    )
                    self._on_wait = None
                await asyncio.sleep(seconds)
        raise UserError(
            f"{self._endpoint.url} {why}, {self._retry.tries} times in a row: look at the server, or say "
            "a smaller --concurrency or a longer --timeout"
        )

    def _request(self, text: str, data_uri: str) -> bytes:
        content = [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": data_uri}},
        ]
        message = {"role": "user", "content": content}
        return json.dumps(
            {
                **self._endpoint.parameters,
                "model": self._endpoint.model,
                "messages": [message],
                "stream": False,
            }
        ).encode()

    async def _send(self, request: bytes) -> str:
        url = f"{self._endpoint.url}/chat/completions"
        try:
            async with self._http.stream("POST", url, content=request) as response:
                return await self._read(response)
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise self._unreachable("cannot be reached in time") from None
            raise TimeoutError from None
        except httpx.ConnectError as error:
            raise self._unreachable(f"cannot be reached ({self._words(error)})") from None
        except httpx.LocalProtocolError as error:
            raise UserError(
                f"{url} cannot be asked: {self._words(error)}; look at --endpoint"
            ) from None
        except httpx.TransportError as error:
            raise self._unreachable(f"breaks off ({self._words(error)})") from None

    async def _read(self, response: httpx.Response) -> str:
        key, url, status = self._endpoint.key, self._endpoint.url, response.status_code
        if not response.is_success:
            words = server_words(await _body(response, LARGEST_ERROR), key)
            named = f"answers {_named(status)}" + (f" ({words})" if words else "")
            if is_temporary(status):
                self._reached = True
                raise TemporaryError(named, read_retry_after(response.headers.get("Retry-After")))
            if response.has_redirect_location:
                place = clean_words(response.headers.get("Location", ""), key)[:200]
                raise UserError(
                    f"{url} sends us elsewhere ({place}), which is not followed, for the key and the "
                    "pictures are for the server that was named: give --endpoint its true address"
                )
            hint = HINTS.get(status, "look at --endpoint and --model")
            raise UserError(f"{url} {named}: {hint}")
        body = await _body(response, LARGEST_ANSWER + 1)
        if len(body) > LARGEST_ANSWER or response.headers.get("Content-Encoding", "identity") != (
            "identity"
        ):
            raise UserError(
                f"{url} answers with more than {LARGEST_ANSWER:,} bytes, or compressed though that was "
                "not asked for: it is no server of captions"
            )
        try:
            caption = read_caption(body, key)
        except NoAnswer as mistake:
            raise self._unreachable(f"answers with {mistake}") from None
        self._reached = True
        return caption

    def _unreachable(self, reason: str) -> Exception:
        """Return a failure that may pass, of a server that has worked; of another one, the end."""
        if self._reached:
            return TemporaryError(reason)
        return UserError(
            f"{self._endpoint.url} {reason}: is the server started, and is this its address?"
        )

    def _words(self, error: Exception) -> str:
        """Return what an error says; of a failed connection what the system says."""
        innermost: BaseException | None = error
        words = first_line(error)
        for _ in range(10):
            if isinstance(innermost, socket.gaierror | ssl.SSLError):
                words = innermost.strerror or words
            elif isinstance(innermost, OSError) and innermost.errno:
                words = os.strerror(innermost.errno)
            innermost = innermost and (innermost.__cause__ or innermost.__context__)
        return clean_words(words, self._endpoint.key)[:200]


async def _body(response: httpx.Response, most: int) -> bytes:
    """Return up to so many bytes of an answer as they were sent."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= most:
            break
    return bytes(body[:most])


def _named(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
