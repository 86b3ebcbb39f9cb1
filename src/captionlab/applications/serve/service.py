"""The way of a request: admitted, read, its pictures decoded, captioned in a batch, or given up."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from torch import Tensor

from captionlab.applications.serve.addresses import fetch
from captionlab.applications.serve.batcher import Batcher, ClosedError, QueueFullError, Timed
from captionlab.applications.serve.captioning import Asked, CaptionBatcher, Captioning
from captionlab.applications.serve.http import ApiError, overloaded
from captionlab.applications.serve.images import decode_data_uri
from captionlab.applications.serve.methods import Method, method_of
from captionlab.applications.serve.monitoring import Monitoring
from captionlab.applications.serve.schemas import Wishes
from captionlab.applications.serve.settings import ServeSettings
from captionlab.applications.serve.uploads import BodyReader
from captionlab.inference.words import WordedCaption
from captionlab.text.prompts import Prompt

ResultT = TypeVar("ResultT")
# the bytes of a file, or a text: a data URI, an address
Picture = bytes | str
ADDRESS = re.compile(r"https?:", re.IGNORECASE)
HYPOTHESES_EACH = 8  # of an image, in a batch of the full size
FETCHERS = 8  # threads that wait for other hosts; those for pictures go on meanwhile


class ClientLeftError(ApiError):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__(499, "the client has left")  # nginx's status, for the log


@dataclass(frozen=True)
class Captioned:
    """Captions of each image of a request, and milliseconds of the slowest of them."""

    images: list[list[WordedCaption]]
    queue_ms: float
    decode_ms: float


class Service:
    """What the routes share: the captioner behind its queue, threads for pictures, who is being served."""

    def __init__(
        self, captioning: Captioning, settings: ServeSettings, monitoring: Monitoring
    ) -> None:
        self.captioning = captioning
        self.settings = settings
        self.monitoring = monitoring
        self.draining = False
        self.in_flight = 0
        self.created = int(time.time())
        self.bodies = BodyReader(max(settings.max_buffered, settings.max_body))
        self.pool = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
        self.fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
        self.batcher: CaptionBatcher = Batcher(
            captioning.caption,
            size=settings.batch_size,
            # a batch cannot be interrupted: what a request asks at most is not decoded at once
            most_weight=settings.batch_size * HYPOTHESES_EACH,
            wait=settings.batch_wait,
            most_waiting=settings.max_queue,
            observe=self._observe,
        )

    def _observe(self, size: int, seconds: float) -> None:
        self.monitoring.batch_images.observe(size)
        self.monitoring.decode_seconds.observe(seconds)
        self.monitoring.images.inc(size)
        self.monitoring.queue.set(len(self.batcher))

    def close(self) -> None:
        """Finish what waits, and end the threads."""
        self.batcher.close()
        for pool in (self.pool, self.fetchers):
            pool.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def admitted(self, request: Request) -> AsyncIterator[None]:
        """Count a request as being served, for as long as it may take.

        Raises:
            ApiError: 503 where too many are, or the server is about to end; 504 after the time.
        """
        if self.draining:
            self.monitoring.rejected.labels("draining").inc()
            raise overloaded("this server is about to end; ask again, another will answer", 5)
        # bounds the memory of bodies too, which are read before their images wait
        if self.in_flight >= self.settings.max_queue:
            self.monitoring.rejected.labels("busy").inc()
            raise overloaded("too many requests are being served; come again")
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                yield
        except TimeoutError:
            self.monitoring.rejected.labels("timeout").inc()
            raise ApiError(
                504,
                f"the request took more than {self.settings.timeout:g} seconds and was given up",
                kind="timeout_error",
            ) from None
        finally:
            self.in_flight -= 1

    async def in_pool(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Return what a function of bytes gives, in one of the threads for pictures."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    async def caption(
        self, request: Request, pictures: Sequence[Picture], wishes: Wishes
    ) -> Captioned:
        """Return the captions of pictures.

        Raises:
            ApiError: where a picture or a wish is wrong, or the queue is full.
        """
        method = method_of(wishes, self.captioning.loaded.decoding, self.settings)
        prompt = Prompt(wishes.question, wishes.style, wishes.language, wishes.begin)
        self.captioning.require(method, prompt)
        self._require_count(len(pictures))
        work = self._caption(method, prompt, pictures, wishes.seed)
        try:
            return await while_connected(request, work)
        except ClientLeftError:
            self.monitoring.rejected.labels("client_left").inc()
            raise

    def _require_count(self, count: int) -> None:
        if not count:
            raise ApiError(400, "image: there is none in the request", param="image")
        if count > self.settings.max_images:
            most = self.settings.max_images
            raise ApiError(413, f"images: {most} are the most of a request", param="images")

    async def _caption(
        self,
        method: Method,
        prompt: Prompt,
        pictures: Sequence[Picture],
        seed: int | None,
    ) -> Captioned:
        names = ["image"] if len(pictures) == 1 else [f"images.{i}" for i in range(len(pictures))]
        with self.batcher.expecting(len(pictures)) as arrived:
            images = await all_or_none(
                [self._read(*one) for one in zip(pictures, names, strict=True)]
            )
            asked = [
                Asked(image, prompt, method.noise(None if seed is None else seed + number))
                for number, image in enumerate(images)
            ]
            try:
                futures = self.batcher.submit(
                    method, asked, weight=method.width, seconds=self.settings.timeout
                )
            except QueueFullError:
                self.monitoring.rejected.labels("queue_full").inc()
                raise overloaded("too many images wait for the captioner; come again") from None
            except ClosedError:
                raise overloaded("this server is about to end; ask again", 5) from None
            arrived()
        self.monitoring.queue.set(len(self.batcher))
        timed = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return _captioned(timed)

    async def _read(self, picture: Picture, name: str) -> Tensor:
        """Return a picture as the captioner wants it, fetched and decoded in threads."""
        if isinstance(picture, str) and ADDRESS.match(picture):
            if not self.settings.allow_urls:
                raise ApiError(
                    400,
                    f"{name}: this server fetches no addresses (--allow-urls); send the picture itself, "
                    "as data:image/jpeg;base64,...",
                    param=name,
                )
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.fetchers, self._fetch, picture, name)
        return await self.in_pool(self._decode, picture, name)

    def _fetch(self, address: str, name: str) -> Tensor:
        """Return the picture of an address; the thread is taken until its bytes have been decoded.

        So no more pictures than there are threads wait in memory for those that decode.
        """
        data = fetch(
            address,
            most_bytes=self.settings.max_bytes,
            seconds=self.settings.timeout / 2,
            param=name,
        )
        return self.pool.submit(self._decode, data, name).result()

    def _decode(self, picture: Picture, name: str) -> Tensor:
        data = decode_data_uri(picture, name) if isinstance(picture, str) else picture
        if len(data) > self.settings.max_bytes:
            raise ApiError(
                413,
                f"{name}: {self.settings.max_bytes:,} bytes are the most of a picture",
                param=name,
            )
        return self.captioning.read(data, name)


def _captioned(timed: Sequence[Timed[list[WordedCaption]]]) -> Captioned:
    return Captioned(
        [one.value for one in timed],
        max(one.waited for one in timed) * 1000,
        max(one.took for one in timed) * 1000,
    )


async def all_or_none(work: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Return what some work gives; where one fails, what of the others has not begun never does.

    Otherwise a request that is refused at once leaves its other pictures waiting for a thread, whose
    bytes nobody counts any more.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def while_connected(request: Request, work: Awaitable[ResultT]) -> ResultT:
    """Return what some work gives, and give it up when the client leaves.

    The body must have been read: what comes after it is that the client has gone.

    Raises:
        ClientLeftError: if it does.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeftError
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def since(begun: float) -> float:
    """Return the milliseconds since a time of ``time.monotonic``."""
    return (time.monotonic() - begun) * 1000
