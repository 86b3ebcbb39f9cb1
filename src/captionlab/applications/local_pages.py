"""Pages for people beside one's own files: an application with its files, and how it is run."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from captionlab.applications.serve.http import (
    LOOPBACK_NAMES,
    ApiError,
    Protection,
    error_response,
    own_hosts,
    secure,
)
from captionlab.applications.serve.page_files import INDEX, PageFiles
from captionlab.applications.serve.server import listen
from captionlab.applications.sqlite_files import UnusableStore
from captionlab.core.errors import UserError

# colors, buttons and type are those of the serving page
SHARED = {
    "style.css": Path(__file__).parent / "serve" / "page",
    "icon.svg": Path(__file__).parent / "serve" / "page",
    "session.js": Path(__file__).parent / "page_parts",
    "parts.css": Path(__file__).parent / "page_parts",
}
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what a user may say, and no default
PUBLIC = ("/", "/page/")
MOST_BODY = 2**16  # bytes: one action


@dataclass(frozen=True)
class Address:
    """Where a page is served, and who may come: anybody on this machine, or who has the token."""

    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: Sequence[str] = ()
    token: str | None = field(default=None, repr=False)

    @classmethod
    def with_token(
        cls, host: str, port: int, allowed_hosts: Sequence[str], token: str | None
    ) -> Address:
        """Return an address; one that others can reach gets a token where none is given.

        Raises:
            UserError: for a port that is none.
        """
        if not 0 <= port <= 65535:
            raise UserError(f"--port {port} is no port: they end at 65535")
        if token is None and host.lower() not in LOOPBACK_NAMES:
            token = secrets.token_urlsafe(18)
        return cls(host, port, allowed_hosts, token)

    @property
    def url(self) -> str:
        """What a person opens; the token stands behind ``#``, which browsers send to no server."""
        name = socket.gethostname() if self.host in EVERYWHERE else self.host
        host = f"[{name}]" if ":" in name else name
        return f"http://{host}:{self.port}/" + (f"#token={self.token}" if self.token else "")


def page_app(title: str, folder: Path, address: Address) -> FastAPI:
    """Return an application that serves the page of a folder, guarded; its API is to be added."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    own = PageFiles(folder)
    shared = {name: PageFiles(place) for name, place in SHARED.items()}

    @app.get("/")
    async def index() -> Response:
        return own.file(INDEX)

    @app.get("/page/{name}")
    async def file(name: str) -> Response:
        return shared.get(name, own).file(name)

    async def of_store(request: Request, error: Exception) -> Response:
        assert isinstance(error, UnusableStore)
        return error_response(ApiError(503, error.without_path))

    secure(
        app,
        Protection(
            token=address.token,
            public=PUBLIC,
            hosts=own_hosts(address.host, address.allowed_hosts),
            max_body=MOST_BODY,
        ),
    )
    app.add_exception_handler(UnusableStore, of_store)
    return app


def run_app(app: FastAPI, address: Address, say: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C or SIGTERM; what is asked then is answered first.

    ``say`` is given the page's address when a browser can open it. Port 0 takes any that is free.

    Raises:
        UserError: if the address cannot be had.
    """
    with listen(address.host, address.port) as listening:
        say(replace(address, port=listening.getsockname()[1]).url)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=10,
        )
        PageServer(config).run(sockets=[listening])


class PageServer(uvicorn.Server):
    """uvicorn, which returns after a signal, so that stores are closed; a second one ends it at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self.force_exit = self.should_exit
        self.should_exit = True
