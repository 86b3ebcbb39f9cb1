"""What a server is started with, and what bounds it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from captionlab.applications.loopback import is_loopback
from captionlab.core.errors import UserError

MEGABYTE = 2**20


# the smallest value of each number; of the timeout it is one that cannot be
LEAST: Mapping[str, float] = {
    **dict.fromkeys(("port", "timeout", "batch_wait", "drain"), 0),
    **dict.fromkeys(("workers", "max_bytes", "max_buffered", "max_pixels", "max_images"), 1),
    **dict.fromkeys(("max_captions", "max_queue", "batch_size", "max_width", "image_threads"), 1),
}


@dataclass(frozen=True)
class ServeSettings:
    """How a captioner is served.

    Args:
        host, port: where; workers: processes, each with the captioner in its memory.
        token: what requests must carry (``Authorization: Bearer ...``), None for none.
        allowed_hosts: names that requests may be addressed to beside the server's own.
        allow_urls: whether images are fetched from addresses; private ones are refused even then.
        model_id, version: what answers call the captioner; its preset's name where there is none.
        max_bytes: of the images of a request, as they are sent. max_pixels: of one image, decoded.
        max_buffered: bytes of all bodies that are being read or decoded.
        max_images: of one request. max_captions: of one image.
        max_queue: images that wait for the captioner; more are refused with 503.
        timeout: seconds that a request may take, waiting and reading included.
        batch_size: images decoded together. batch_wait: seconds that a batch waits for images which
            are on their way.
        max_width: hypotheses (beams, samples) of an image.
        image_threads: threads that decode images.
        drain: seconds after SIGTERM that ``/ready`` answers 503 before the port is closed.
        abstain: chance of being right below which the page says that it is not sure.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_urls: bool = False
    model_id: str = ""
    version: str = ""
    max_bytes: int = 25 * MEGABYTE
    max_buffered: int = 512 * MEGABYTE
    max_pixels: int = 50_000_000
    max_images: int = 32
    max_captions: int = 16
    max_queue: int = 128
    timeout: float = 30.0
    batch_size: int = 32
    batch_wait: float = 0.005
    max_width: int = 64
    image_threads: int = 2
    drain: float = 0.0
    abstain: float = 0.3

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not value >= least or (name == "timeout" and value == 0):
                option = "--" + name.replace("_", "-")
                bound = "more than 0" if name == "timeout" else f"at least {least:g}"
                raise UserError(f"{option} {value} is too small: say {bound}")
        if not 0 <= self.abstain <= 1:
            raise UserError(
                f"--abstain {self.abstain:g} is a chance of being right: say a number from 0 to 1"
            )
        if not self.port <= 65535:
            raise UserError(f"--port {self.port} is no port: they end at 65535")

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches the server's address can use it, from other machines too."""
        return self.token is None and not is_loopback(self.host)

    @property
    def max_body(self) -> int:
        """Bytes of a whole body: images in base64 take a third more, and there are fields beside."""
        return self.max_bytes * 4 // 3 + MEGABYTE
