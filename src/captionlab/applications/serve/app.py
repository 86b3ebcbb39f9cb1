"""The application: a captioner and settings in, FastAPI's object out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response

from captionlab import __version__
from captionlab.applications.serve.captioning import Captioning
from captionlab.applications.serve.captions import caption_router
from captionlab.applications.serve.chat import chat_router
from captionlab.applications.serve.http import Protection, overloaded, own_hosts, secure
from captionlab.applications.serve.monitoring import Measured, Monitoring
from captionlab.applications.serve.openapi import describe_requests
from captionlab.applications.serve.page_files import PageFiles
from captionlab.applications.serve.service import Service
from captionlab.applications.serve.settings import ServeSettings
from captionlab.applications.speech.router import speech_router
from captionlab.applications.speech.voices import installed_voices
from captionlab.inference.loaded import LoadedCaptioner
from captionlab.metrics.calibration import Calibration

PAGE = Path(__file__).parent / "page"
# what shows nothing of anybody's pictures, and what a browser opens before it can send a token
PUBLIC = ("/", "/page/", "/health", "/ready")
# what is counted one by one at /metrics
PATHS = frozenset(
    (
        *("/", "/v1/caption", "/v1/chat/completions", "/v1/models", "/v1/speech"),
        *("/health", "/ready", "/metrics", "/openapi.json"),
    )
)
WITH_PICTURES = ("/v1/caption", "/v1/chat/completions")
SMALL_BODY = 2**16  # bytes
DESCRIPTION = """
Captions of pictures by one trained captioner.

`POST /v1/caption` takes pictures as multipart or JSON and tells of each caption how sure the captioner
is, word by word. `POST /v1/chat/completions` is OpenAI's, for programs made for that. Errors are
`{"error": {"message", "type", "param"}}`.
"""


def create_app(
    captioner: LoadedCaptioner,
    settings: ServeSettings | None = None,
    calibration: Calibration | None = None,
) -> FastAPI:
    """Return the application that serves a captioner.

    The captioner is used from one thread of it alone. ``app.state.service`` is what the routes share.
    With a ``calibration`` each caption has its chance of being right.
    """
    settings = settings or ServeSettings()
    name = settings.model_id or str(captioner.config["model"].get("name") or "captionlab")
    settings = replace(settings, model_id=name)
    captioning = Captioning(captioner, settings, calibration)
    captioning.warm_up()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # what is being captioned ends; the event loop goes on meanwhile
        await asyncio.get_running_loop().run_in_executor(None, app.state.service.close)

    app = FastAPI(
        title="captionlab",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        # their pages come from another host
        docs_url=None,
        redoc_url=None,
    )
    voices = installed_voices()
    captioning.has_voice = bool(voices)
    app.include_router(speech_router(voices))
    _add_routes(app)
    monitoring = Monitoring(PATHS)
    app.state.service = Service(captioning, settings, monitoring)
    describe_requests(app)
    secure(
        app,
        Protection(
            token=settings.token,
            public=PUBLIC,
            hosts=own_hosts(settings.host, settings.allowed_hosts),
            # what is no picture is parsed as it comes, and counted by nobody
            max_body=SMALL_BODY,
            bodies=dict.fromkeys(WITH_PICTURES, settings.max_body),
        ),
    )
    app.add_middleware(Measured, monitoring=monitoring)
    return app


def _add_routes(app: FastAPI) -> None:
    app.include_router(caption_router)
    app.include_router(chat_router)
    page = PageFiles(PAGE)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return page.index()

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        return page.file(name)

    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/ready", tags=["operation"])
    async def ready() -> dict[str, str]:
        """Say whether more requests are welcome: 503 while the server is about to end."""
        if app.state.service.draining:
            raise overloaded("this server is about to end", 5)
        return {"status": "ready"}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        service: Service = app.state.service
        service.monitoring.queue.set(len(service.batcher))
        text, media_type = service.monitoring.text()
        return Response(text, media_type=media_type)
