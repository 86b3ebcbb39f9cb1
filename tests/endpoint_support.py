"""A small server of the tests' own, which answers as it is told to, and keeps what it was asked."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from captionlab.applications.endpoint.retry import Retry

QUICK = Retry(tries=3, first=0.001, ceiling=0.01)


@dataclass
class Asked:
    """One request: its number from 0, its JSON, its headers, and the handler that answers it."""

    number: int
    body: dict
    headers: dict[str, str]
    handler: BaseHTTPRequestHandler

    @property
    def picture(self) -> Image.Image:
        """The picture as the server sees it."""
        uri = self.body["messages"][0]["content"][1]["image_url"]["url"]
        assert uri.startswith("data:image/jpeg;base64,")
        return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))

    @property
    def red(self) -> int:
        """The red of the picture's middle, which the tests' pictures differ in, in tens."""
        picture = self.picture
        return round(picture.getpixel((picture.width // 2, picture.height // 2))[0] / 10)

    def send(self, status: int, body: bytes | str | dict, **headers: str) -> None:
        content = json.dumps(body) if isinstance(body, dict) else body
        content = content.encode() if isinstance(content, str) else content
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(content)))
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def say(self, content: object, **message: object) -> None:
        """Answer with a completion of this content."""
        finish = message.pop("finish_reason", "stop")
        message = {"role": "assistant", "content": content, **message}
        self.send(200, {"choices": [{"index": 0, "message": message, "finish_reason": finish}]})


Answer = Callable[[Asked], None]


@dataclass
class Server:
    url: str
    asked: list[Asked] = field(default_factory=list)


def by_color(asked: Asked) -> None:
    asked.say(f"a picture of red {asked.red}")


@contextmanager
def serving(answer: Answer = by_color) -> Iterator[Server]:
    """Serve ``answer`` on a free port of this machine."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked = Asked(len(server.asked), body, dict(self.headers), self)
                server.asked.append(asked)
            try:
                answer(asked)
            except OSError:  # whoever asked has left
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.handle_error = lambda *args: None
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write pictures that differ in their red, by tens."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 30), (10 * number, 40, 40)).save(path)
    return paths
