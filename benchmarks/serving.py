"""captionlab's server against the same captioner behind a plain FastAPI handler, which batches nothing.

    python benchmarks/serving.py [--checkpoint CKPT] [--images FOLDER] [--seconds 10] [--clients 32]

First closed loops: each client sends its next request when it has its answer. Then an open loop:
requests come at random times (a Poisson process) at a share of what the server was able to do, whether
or not it has answered, and a latency counts from the time at which its request was due.

Both servers run in a process of their own, one after the other, and do the same for a picture: decode
it, write its caption, tell the probability of each word. The clients run here and share the machine with
them: on few cores the servers are faster than this shows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

BOUNDARY = "captionlab-benchmark"
WARM_UP = 3.0  # seconds; torch prepares itself for each new size of a batch


def plain_app(checkpoint: str):
    """Return the handler that one writes first: no queue, no batch; FastAPI's threads call torch."""
    from fastapi import FastAPI, UploadFile

    from captionlab import load_captioner
    from captionlab.applications.serve.images import decode_image
    from captionlab.inference.words import worded_captions
    from captionlab.text.prompts import NO_PROMPT

    captioner = load_captioner(checkpoint)
    size = captioner.captioner.encoder.image_size
    app = FastAPI()

    def caption(image: UploadFile) -> dict:
        pixels = decode_image(image.file.read(), size=size, max_pixels=50_000_000)
        (captions,) = worded_captions(captioner, captioner.prepare(pixels)[None], [NO_PROMPT])
        words = [{"word": word.text, "confidence": word.confidence} for word in captions[0].words]
        return {"caption": captions[0].text, "words": words}

    # annotations of this module are texts, which FastAPI looks for among the module's names
    caption.__annotations__["image"] = UploadFile
    app.post("/v1/caption")(caption)
    return app


def run_server(kind: str, checkpoint: str) -> None:
    """Serve at a free port, and print its number."""
    import uvicorn

    from captionlab.applications.serve.server import DrainingServer, Source, listen
    from captionlab.applications.serve.settings import ServeSettings

    listening = listen("127.0.0.1", 0)
    settings = ServeSettings(max_queue=512)
    if kind == "plain":
        config = uvicorn.Config(plain_app(checkpoint), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
    else:
        server = DrainingServer(Source((checkpoint,)).application(settings), settings)
    print(listening.getsockname()[1], flush=True)
    server.run([listening])


@contextlib.contextmanager
def serving(kind: str, checkpoint: str) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", kind, "--checkpoint", checkpoint]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def request_of(picture: bytes) -> bytes:
    """Return a whole HTTP request that sends a picture."""
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="p"\r\n\r\n'.encode()
        + picture
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    return (
        "POST /v1/caption HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Client:
    """A connection that stays open; less work for the shared cores than an HTTP library."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Return the status of the answer; a connection that was closed meanwhile is opened again."""
        if self.streams is not None and self.streams[0].at_eof():
            self.streams = None
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        await reader.readexactly(length)
        return int(head.split()[1])


async def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float):
    """Return answers a second and their latencies, of clients that each wait for their answer."""
    latencies: list[float] = []
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        one, turn = Client(port), number
        while time.monotonic() < end:
            begun = time.monotonic()
            status = await one.ask(requests[turn % len(requests)])
            assert status == 200, status
            latencies.append(time.monotonic() - begun)
            turn += clients

    begun = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return len(latencies) / (time.monotonic() - begun), latencies


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float):
    """Return answers a second, latencies from when each was due, and how many were not answered 200."""
    chance = random.Random(0)
    idle: list[Client] = []
    latencies: list[float] = []
    refused = 0

    async def one(request: bytes, due: float) -> None:
        nonlocal refused
        client = idle.pop() if idle else Client(port)
        status = await client.ask(request)
        idle.append(client)
        if status == 200:
            latencies.append(time.monotonic() - due)
        else:
            refused += 1

    begun = due = time.monotonic()
    tasks = []
    while due < begun + seconds:
        due += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(requests[len(tasks) % len(requests)], due)))
    await asyncio.gather(*tasks)
    return len(latencies) / (time.monotonic() - begun), latencies, refused


def shown(latencies: Sequence[float]) -> str:
    cuts = statistics.quantiles(latencies, n=100)
    median, p99 = statistics.median(latencies), cuts[98]
    return f"median {median * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms ({p99 / median:.1f} x)"


def pictures_of(folder: str | None, count: int) -> list[bytes]:
    """Return encoded pictures: a folder's photographs, or built-in ones."""
    if folder:
        paths = sorted(Path(folder).glob("*.jpg"))[:count]
        return [path.read_bytes() for path in paths]
    from PIL import Image

    chance = random.Random(0)
    pictures = []
    for _ in range(count):
        file = io.BytesIO()
        color = tuple(chance.randrange(256) for _ in range(3))
        Image.new("RGB", (320, 240), color).save(file, "JPEG")
        pictures.append(file.getvalue())
    return pictures


def untrained(folder: str) -> str:
    """Train for seconds, and return the checkpoint: what it writes does not matter here."""
    command = [sys.executable, "-m", "captionlab", "train", "experiment=smoke"]
    subprocess.run([*command, f"hydra.run.dir={folder}/run"], check=True, stdout=subprocess.DEVNULL)
    return f"{folder}/run/checkpoints/best.ckpt"


def measure(options: argparse.Namespace, checkpoint: str) -> None:
    requests = [request_of(one) for one in pictures_of(options.images, options.pictures)]
    answers: dict[tuple[str, int], float] = {}
    for kind in ("plain", "captionlab"):
        with serving(kind, checkpoint) as port:
            run: Callable[[Awaitable], object] = asyncio.run
            run(closed_loop(port, requests, options.clients, WARM_UP))
            for clients in (1, options.clients):
                rate, latencies = run(closed_loop(port, requests, clients, options.seconds))
                answers[kind, clients] = rate
                print(f"{kind:10}  {clients:3} clients   {rate:7.1f}/s   {shown(latencies)}")
            for share in options.shares:
                due = share * answers[kind, options.clients]
                rate, latencies, refused = run(open_loop(port, requests, due, options.seconds))
                print(
                    f"{kind:10}  open {due:5.1f}/s   {rate:7.1f}/s   {shown(latencies)}"
                    f"   refused {refused}"
                )
    one, many = answers["plain", 1], answers["captionlab", options.clients]
    print(
        f"captionlab with {options.clients} clients against the plain handler: {many / one:.1f} x of one "
        f"client, {many / answers['plain', options.clients]:.1f} x of {options.clients}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="left out: a small one that is trained for seconds")
    parser.add_argument("--images", metavar="FOLDER", help="photographs (*.jpg)")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument(
        "--shares", type=float, nargs="*", default=[0.5, 0.8], help="of the closed loop's rate"
    )
    parser.add_argument("--serve", choices=("plain", "captionlab"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(options.serve, options.checkpoint)
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; clients run on them too")
    with tempfile.TemporaryDirectory() as folder:
        measure(options, options.checkpoint or untrained(folder))


if __name__ == "__main__":
    main()
