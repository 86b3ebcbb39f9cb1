"""A process that serves: the captioner is loaded, a port listened at, and SIGTERM waited for."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import FrameType

import torch
import uvicorn
from fastapi import FastAPI

from captionlab.applications.serve.app import create_app
from captionlab.applications.serve.identity import calibration_of, fingerprint
from captionlab.applications.serve.service import Service
from captionlab.applications.serve.settings import ServeSettings
from captionlab.applications.serve.workers import supervise
from captionlab.core.addresses import is_address
from captionlab.core.errors import UserError
from captionlab.inference.loaded import LoadedCaptioner, load_captioner

MOST_CONNECTIONS = 1024
KEEP_ALIVE = 30  # seconds that an idle connection stays open
LONGEST_HEADERS = 16 * 1024  # bytes of a request's line and headers


@dataclass(frozen=True)
class Source:
    """Which captioner is served: one checkpoint or exported folder, or several that write together."""

    paths: tuple[str, ...]
    device: str = "cpu"
    decoding: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()

    def captioner(self) -> LoadedCaptioner:
        """Return the captioner.

        Raises:
            UserError: as ``load_captioner``.
        """
        return load_captioner(
            self.paths, device=self.device, decoding=self.decoding, trust=self.trust
        )

    def application(self, settings: ServeSettings) -> FastAPI:
        """Return the application of this captioner, which it loads.

        Raises:
            UserError: as ``load_captioner``.
        """
        settings = replace(settings, version=fingerprint(self.paths))
        return create_app(self.captioner(), settings, calibration_of(self.paths))


def serve(source: Source, settings: ServeSettings) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status.

    Raises:
        UserError: if the captioner cannot be loaded, or the port not be had.
    """
    listening = listen(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    with listening:
        if settings.workers > 1:
            source.captioner()  # whatever is wrong with it is told once
            print(f"serving at {address} with {settings.workers} processes", flush=True)
            return supervise(settings.workers, run_worker, (source, settings, listening))
        app = source.application(settings)
        print(f"serving at {address}", flush=True)
        DrainingServer(app, settings).run([listening])
    return 0


def run_worker(source: Source, settings: ServeSettings, listening: socket.socket) -> None:
    """Serve as one of several processes."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.workers))
    DrainingServer(source.application(settings), settings).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address; port 0 is any free one.

    Raises:
        UserError: if it cannot be had.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port}: another program listens there; choose another port"
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(
                f"--port {port} needs rights that you lack; choose one from 1024 on"
            ) from error
        raise UserError(
            f"--host {host} --port {port} cannot be had: {error.strerror or error}"
        ) from error


class DrainingServer(uvicorn.Server):
    """uvicorn, which finishes what it has begun.

    From SIGTERM on ``/ready`` and new requests are answered 503, for ``settings.drain`` seconds at
    least and until nothing is in flight; then the process ends with status 0. A second Ctrl-C ends it
    at once.
    """

    def __init__(self, app: FastAPI, settings: ServeSettings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # who asked what is nobody's business
                server_header=False,
                ws="none",
                lifespan="on",
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=round(settings.timeout) + 1,
                limit_concurrency=MOST_CONNECTIONS,
                h11_max_incomplete_event_size=LONGEST_HEADERS,
            )
        )
        self._service: Service = app.state.service
        self._drain = settings.drain
        self._drained_at = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain."""
        if self._service.draining:
            if self.should_exit or sig == 2:
                self.force_exit = True
                self.should_exit = True
            return
        self._drained_at = time.monotonic() + self._drain
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to end."""
        ended = await super().on_tick(counter)
        waited = self._service.draining and time.monotonic() >= self._drained_at
        return ended or (waited and self._service.in_flight == 0)


def require_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths that a worker process finds as well."""
    return tuple(path if is_address(path) else os.path.abspath(path) for path in paths)
