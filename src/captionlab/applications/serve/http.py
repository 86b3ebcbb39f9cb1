"""What every application here wants of HTTP: errors in one form, and a guard in front of it.

The guard asks for the bearer token, refuses hosts and origins that are not the server's own, counts
the bytes of a body while they come in, and sets the headers that keep a browser from running what a
caption says.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captionlab.applications.loopback import is_loopback
from captionlab.core.errors import UserError

log = logging.getLogger(__name__)

MEGABYTE = 2**20
# what a client has still to send when its body is refused is read away, so that it hears why
MOST_DISCARDED = 64 * MEGABYTE
LONGEST_DISCARDING = 5.0  # seconds
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
SECURITY_HEADERS: Mapping[str, str] = {
    # no inline script or style, nothing of another host, no frame around it
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
INVALID = "invalid_request_error"
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class ApiError(HTTPException):
    """What a request is answered with in place of a result: a status, one sentence, the field it is of."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.message = message
        self.kind = kind or KINDS.get(status, INVALID if status < 500 else "server_error")
        self.param = param


def overloaded(message: str, seconds: float = 1) -> ApiError:
    """Return the error 503 that asks to come again after some seconds."""
    return ApiError(
        503, message, kind="overloaded_error", headers={"Retry-After": f"{seconds:.0f}"}
    )


def error_body(message: str, kind: str = INVALID, param: str | None = None) -> dict[str, object]:
    """Return the JSON of an error, which is that of OpenAI's API."""
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def error_response(error: ApiError) -> JSONResponse:
    """Return an error as a response."""
    # no quoted value can break the sentence's encoding: UserError escapes it as a terminal wants it
    message = str(UserError(error.message))
    body = error_body(message, error.kind, error.param)
    return JSONResponse(body, error.status_code, headers=error.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of an application in the one form: FastAPI's, a UserError's (400), any other's."""

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if not isinstance(error, ApiError):
            error = ApiError(error.status_code, str(error.detail), headers=error.headers)
        return error_response(error)

    async def of_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_response(first_error(error.errors()))

    async def of_user(request: Request, error: Exception) -> Response:
        return error_response(ApiError(400, str(error)))

    async def of_program(request: Request, error: Exception) -> Response:
        return error_response(ApiError(500, "the server made a mistake; its log says which"))

    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(UserError, of_user)
    app.add_exception_handler(Exception, of_program)


def first_error(errors: object) -> ApiError:
    """Return the first of pydantic's errors as one sentence that names its field."""
    assert isinstance(errors, list | tuple)
    error = errors[0]
    # FastAPI begins a place with where the value came from
    place = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    field = ".".join(place)
    message = str(error["msg"])
    value = error.get("input")
    shown = f", not {value!r:.60}" if isinstance(value, str | int | float | bool) else ""
    return ApiError(400, f"{field or 'the body'}: {message}{shown}", param=field or None)


@dataclass(frozen=True)
class Protection:
    """What a guard lets through.

    Args:
        token: what every request must carry (``Authorization: Bearer ...``); None for none.
        public: paths that need no token, and prefixes of such, which end in a slash.
        hosts: names that a request may be addressed to, without port; None for any.
        max_body: bytes of a body. bodies: of those of single paths, in place of that.
    """

    token: str | None = None
    public: Collection[str] = ()
    hosts: Collection[str] | None = None
    max_body: int = MEGABYTE
    bodies: Mapping[str, int] = field(default_factory=dict)


def own_hosts(bound: str, more: Collection[str] = ()) -> frozenset[str] | None:
    """Return the names that a server bound to an address goes by, None for any.

    A page elsewhere that lets its own name lead to 127.0.0.1 (DNS rebinding) is none of them.
    """
    names = {name.lower() for name in more}
    if is_loopback(bound):
        return LOOPBACK_NAMES | names | {f"[{bound}]" if ":" in bound else bound.lower()}
    return frozenset(names) or None


class Guard:
    """ASGI middleware: who may ask, how much they may send, and what a browser may do with the answer."""

    def __init__(self, app: ASGIApp, protection: Protection) -> None:
        self.app = app
        self.protection = protection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a web socket is closed before it is open
        most = self.protection.bodies.get(scope["path"], self.protection.max_body)
        body = _Body(receive, most)
        headers = Headers(scope=scope)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    own.setdefault(name, value)
                own.setdefault("Cache-Control", "no-store")
                if body.refused:  # what is left of it belongs to no next request
                    own["Connection"] = "close"
            await send(message)

        try:
            self._require_host(headers)
            self._require_same_origin(scope["method"], headers)
            self._require_token(scope["path"], headers)
            body.require_length(headers)
        except ApiError as error:
            await body.discard(headers)
            await error_response(error)(scope, receive, secured)
            return
        await self.app(scope, body.receive, secured)

    def _require_host(self, headers: Headers) -> None:
        hosts = self.protection.hosts
        if hosts is not None and (host := _name(headers.get("host", ""))) not in hosts:
            raise ApiError(
                400,
                f"host {host!r} is not this server's: address it as {min(hosts)}, or name the host "
                "when the server is started (--allowed-host)",
            )

    def _require_same_origin(self, method: str, headers: Headers) -> None:
        """Refuse what another site's page sends through its reader's browser."""
        origin = headers.get("origin")
        if method in SAFE_METHODS or origin is None:
            return
        try:
            netloc = urlsplit(origin).netloc.lower()  # nothing for "null"
        except ValueError:  # a bracket without its other
            netloc = ""
        own = {headers.get("host", "").lower()}
        if not netloc or (netloc not in own and _name(netloc) not in (self.protection.hosts or ())):
            raise ApiError(403, f"a page of {origin} may not send requests here")

    def _require_token(self, path: str, headers: Headers) -> None:
        token = self.protection.token
        if token is None or any(_matches(path, public) for public in self.protection.public):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # compared as bytes, in a time that tells nothing of how much of it is right
        same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
        if scheme.lower() != "bearer" or not same:
            raise ApiError(
                401,
                "this server wants its token: Authorization: Bearer ...",
                headers={"WWW-Authenticate": "Bearer"},
            )


class _Body:
    """The body of a request, counted while it comes in."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._read = 0
        self._ended = False
        self.refused = False

    def require_length(self, headers: Headers) -> None:
        """Raise ApiError for a body that says itself that it is too long."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            raise self._too_long()

    async def receive(self) -> Message:
        """Return the next message; ApiError as soon as the bytes are too many."""
        message = await self._next()
        if self._read > self._most:
            await self.discard(Headers())
            raise self._too_long()
        return message

    async def discard(self, headers: Headers) -> None:
        """Read away the rest of a refused body, as far as it is bearable.

        Who waits for ``100 Continue`` has sent nothing yet, and need not.
        """
        self.refused = True
        if "expect" in headers:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_DISCARDING):
                while not self._ended and self._read < self._most + MOST_DISCARDED:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    def _too_long(self) -> ApiError:
        most = self._most / MEGABYTE
        return ApiError(413, f"the request is too large: {most:.3g} MB are the most that is read")


def _name(netloc: str) -> str:
    """Return the host of ``host:port``, in lower case."""
    host, colon, port = netloc.lower().rpartition(":")
    return host if colon and port.isdecimal() else netloc.lower()


def _matches(path: str, public: str) -> bool:
    return path.startswith(public) if len(public) > 1 and public.endswith("/") else path == public


def secure(app: FastAPI, protection: Protection) -> FastAPI:
    """Return the application with one form of errors and a guard in front of it."""
    add_error_handlers(app)
    app.add_middleware(Guard, protection=protection)
    return app
