"""Many pictures asked about: several at a time, answers in their order, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from captionlab.applications.endpoint.answers import NoCaption
from captionlab.applications.endpoint.cache import AnswerCache
from captionlab.applications.endpoint.client import Client
from captionlab.applications.endpoint.pictures import (
    QUALITY,
    Source,
    as_data_uri,
    content_digest,
)
from captionlab.applications.endpoint.retry import Retry
from captionlab.applications.endpoint.settings import Endpoint
from captionlab.core.errors import UserError
from captionlab.data.images.files import BrokenImage

HOPELESS = 10  # pictures in a row, from the first one on, that get no caption: then none will

# a caption, or why there is none (BrokenImage, NoCaption)
Outcome = str | UserError
# called with the place and the outcome of each request, in order; False ends the work
OnOutcome = Callable[[int, Outcome], bool]


class Request(NamedTuple):
    """A picture, and the words that go before it."""

    picture: Source
    text: str


@dataclass
class Tally:
    """How many captions were asked for, and how many were known."""

    asked: int = 0
    known: int = 0


def caption_pictures(
    endpoint: Endpoint,
    requests: Sequence[Request],
    cache: AnswerCache,
    on_outcome: OnOutcome,
    *,
    retry: Retry | None = None,
    on_wait: Callable[[str], None] = lambda sentence: None,
) -> Tally:
    """Ask about pictures, ``endpoint.concurrency`` at a time, and give each outcome in order.

    Ctrl-C ends it at once; what was answered is in the cache then.

    Raises:
        UserError: if the server cannot be used, the first pictures all get no caption, or the key
            stands among what is asked.
        OSError: if the cache cannot be written.
    """
    for text in {request.text for request in requests}:
        endpoint.require_keyless(text)
    work = _Work(endpoint, cache, requests, on_outcome)
    try:
        asyncio.run(work.run(retry, on_wait))
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, _EnoughError):
            raise error from None
    return work.tally


class _EnoughError(Exception):
    """Nobody wants the rest."""


class _Work:
    def __init__(
        self,
        endpoint: Endpoint,
        cache: AnswerCache,
        requests: Sequence[Request],
        on_outcome: OnOutcome,
    ) -> None:
        self.tally = Tally()
        self._endpoint, self._cache = endpoint, cache
        self._requests, self._on_outcome = requests, on_outcome
        self._numbers = iter(range(len(requests)))
        self._done: dict[int, Outcome] = {}
        self._next = self._hopeless = 0
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        # one picture at a time: no reader promises to serve several threads
        self._preparing = asyncio.Lock()
        self._digest = _Latest(content_digest)
        self._uri = _Latest(lambda picture: as_data_uri(picture, endpoint.max_side))

    async def run(self, retry: Retry | None, on_wait: Callable[[str], None]) -> None:
        async with (
            Client(self._endpoint, retry, on_wait) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(self._endpoint.concurrency, len(self._requests))):
                group.create_task(self._work(client))

    async def _work(self, client: Client) -> None:
        for number in self._numbers:
            try:
                outcome: Outcome = await self._caption(client, self._requests[number])
            except (BrokenImage, NoCaption) as error:
                outcome = error
            self._done[number] = outcome
            self._hand_on()

    def _hand_on(self) -> None:
        while self._next in self._done:
            outcome = self._done.pop(self._next)
            if not self._on_outcome(self._next, outcome):
                raise _EnoughError
            if isinstance(outcome, NoCaption):
                if self._hopeless == self._next and self._next + 1 == HOPELESS:
                    raise UserError(
                        f"{self._endpoint.url}: none of the first {HOPELESS} pictures got a caption; of "
                        f"the last one {outcome}"
                    )
                self._hopeless += 1
            self._next += 1

    async def _caption(self, client: Client, request: Request) -> str:
        picture, text = request
        async with self._preparing:
            digest = await asyncio.to_thread(self._digest, picture)
        question = {**self._endpoint.question, "prompt": text, "jpeg": QUALITY, "picture": digest}
        # of two equal requests the second waits for the answer to the first
        async with self._asking.setdefault((digest, text), asyncio.Lock()):
            known = self._cache.read(question)
            if known is not None:
                self.tally.known += 1
                return known
            async with self._preparing:
                uri = await asyncio.to_thread(self._uri, picture)
            caption = await client.ask(text, uri)
            self._cache.write(question, caption)
        self._asking.pop((digest, text), None)  # of 200,000 questions; the answer is in the cache
        self.tally.asked += 1
        return caption


class _Latest:
    """Remembers what was made of the picture before: several questions about one follow each other."""

    def __init__(self, make: Callable[[Source], str]) -> None:
        self._make = make
        self._known: tuple[Source, str] | None = None

    def __call__(self, picture: Source) -> str:
        if self._known is None or self._known[0] != picture:
            self._known = picture, self._make(picture)
        return self._known[1]
