"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

import os
import time
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
OTHER = "other"  # of paths that strangers make up there is no end


class Monitoring:
    """The figures of one process; those of several are added where they are read."""

    def __init__(self, paths: frozenset[str]) -> None:
        self._paths = paths
        self._registry = CollectorRegistry()
        own: Any = {"registry": self._registry, "namespace": "captionlab"}
        self.requests = Counter("requests", "Answered requests.", ["path", "status"], **own)
        self.seconds = Histogram(
            "request_seconds", "Seconds of a request.", ["path"], buckets=SECONDS, **own
        )
        self.batch_images = Histogram(
            "batch_images", "Images decoded together.", buckets=IMAGES, **own
        )
        self.decode_seconds = Histogram(
            "decode_seconds", "Seconds of a batch.", buckets=SECONDS, **own
        )
        self.images = Counter("images", "Captioned images.", **own)
        self.rejected = Counter("rejected", "Requests without a result.", ["reason"], **own)
        self.queue = Gauge("queue_images", "Images that wait.", multiprocess_mode="livesum", **own)
        self.in_flight = Gauge(
            "requests_in_flight", "Requests being served.", multiprocess_mode="livesum", **own
        )

    def path(self, path: str) -> str:
        """Return a path as it is counted."""
        return path if path in self._paths else OTHER

    def text(self) -> tuple[bytes, str]:
        """Return the figures as Prometheus reads them, and the type of that."""
        registry = self._registry
        if os.environ.get(MULTIPROCESS):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST


class Measured:
    """ASGI middleware that counts requests and takes their time."""

    def __init__(self, app: ASGIApp, monitoring: Monitoring) -> None:
        self.app = app
        self.monitoring = monitoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500
        path = self.monitoring.path(scope["path"])

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self.monitoring.in_flight.track_inprogress():
            try:
                await self.app(scope, receive, noted)
            finally:
                self.monitoring.requests.labels(path, status).inc()
                self.monitoring.seconds.labels(path).observe(time.monotonic() - begun)
