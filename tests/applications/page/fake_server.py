"""A small server of the tests' own that shows the page and answers its requests as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import captionlab.applications

PAGE = Path(captionlab.applications.__file__).parent / "serve" / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
ABILITIES = {
    "questions": True,
    "styles": ["terse", "ornate"],
    "languages": ["en", "zh"],
    "beginning": True,
    "attention": True,
    "image_size": 224,
    "fit": "stretch",
    "calibrated": True,
    "abstain": 0.3,
    "speech": False,
    "max_bytes": 20_000_000,
}
GRID = [[0.0, 0.0, 0.1], [0.0, 0.1, 0.8]]


def caption(text: str, probability: float | None = 0.8, confidence: float = 0.9) -> dict:
    words = [
        {"word": word, "confidence": confidence / (1 + place), "attention": GRID}
        for place, word in enumerate(text.split())
    ]
    return {
        "caption": text,
        "score": -1.0,
        "log_prob": -3.0,
        "probability": probability,
        "words": words,
    }


@dataclass
class Asked:
    """One request: its path, its form or JSON fields, the bytes of its picture, its headers."""

    path: str
    fields: dict[str, str] = field(default_factory=dict)
    picture: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Answer = tuple[int, object, dict[str, str]]


class FakeServer:
    """Answers with `captions`, or with what the next of `answers` makes of a picture or a text."""

    def __init__(self) -> None:
        self.abilities = dict(ABILITIES)
        self.captions = [caption("a dog runs on grass"), caption("a brown dog outside", 0.4, 0.6)]
        self.answers: list[Callable[[Asked], Answer]] = []
        self.knows_model = True
        self.asked: list[Asked] = []
        self.url = ""

    def fail(self, status: int, message: str = "", **headers: str) -> None:
        """Answer the next picture or text with an error."""
        body = {"error": {"message": message, "type": "error", "param": None}}
        self.answers.append(lambda _: (status, body, headers))

    def hold(self, answer: Answer | None = None) -> Callable[[], None]:
        """Let the next request wait for its answer; return what lets it go on."""
        gate = threading.Event()
        self.answers.append(lambda asked: gate.wait(20) and (answer or self.usual(asked)))
        return gate.set

    @property
    def captioned(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == "/v1/caption"]

    def usual(self, asked: Asked) -> Answer:
        if asked.path == "/v1/models":
            if not self.knows_model:
                return 503, {}, {}
            return (
                200,
                {"object": "list", "data": [{"id": "fake", "captionlab": self.abilities}]},
                {},
            )
        if asked.path == "/v1/caption":
            results = [{"captions": self.captions}]
            return 200, {"model": {"id": "fake"}, "results": results, "timings": {}}, {}
        return 404, {"error": {"message": "no such path", "type": "error", "param": None}}, {}

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        special = self.answers and asked.path != "/v1/models"
        return self.answers.pop(0)(asked) if special else self.usual(asked)


@contextmanager
def serving() -> Iterator[FakeServer]:
    fake = FakeServer()
    handler = type("Handler", (_Handler,), {"fake": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer

    def do_GET(self) -> None:
        name = "index.html" if self.path == "/" else self.path.removeprefix("/page/")
        if name in {path.name for path in PAGE.iterdir()}:
            kind = TYPES.get(Path(name).suffix, "image/svg+xml")
            self.reply(200, (PAGE / name).read_bytes(), {"Content-Type": kind})
        else:
            self.reply(*self.fake.answer(Asked(self.path, headers=dict(self.headers))))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = Asked(self.path, headers=dict(self.headers))
        kind = self.headers["Content-Type"]
        if kind.startswith("multipart/"):
            form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
            for part in form.get_payload():
                content = part.get_payload(decode=True)
                name = part.get_param("name", header="content-disposition")
                if name == "image":
                    asked.picture = content
                else:
                    asked.fields[name] = content.decode()
        else:
            asked.fields = json.loads(body)
        self.reply(*self.fake.answer(asked))

    def reply(self, status: int, body: object, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        # as the real server: nothing inline, nothing from another host
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""
