"""Many pictures captioned: several at a time, answers in their order, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
# called with the place and the outcome of each picture, in order; False ends the work
OnOutcome = Callable[[int, Outcome], bool]


@dataclass
class Tally:
    """How many captions were asked for, and how many were known."""

    asked: int = 0
    known: int = 0


def caption_pictures(
    endpoint: Endpoint,
    sources: Sequence[Source],
    cache: AnswerCache,
    on_outcome: OnOutcome,
    *,
    retry: Retry | None = None,
    on_wait: Callable[[str], None] = lambda sentence: None,
) -> Tally:
    """Caption pictures, ``endpoint.concurrency`` at a time, and give each outcome in order.

    Ctrl-C ends it at once; what was answered is in the cache then.

    Raises:
        UserError: if the server cannot be used, or the first pictures all get no caption.
        OSError: if the cache cannot be written.
    """
    work = _Work(endpoint, cache, sources, on_outcome)
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
        sources: Sequence[Source],
        on_outcome: OnOutcome,
    ) -> None:
        self.tally = Tally()
        self._endpoint, self._cache = endpoint, cache
        self._sources, self._on_outcome = sources, on_outcome
        self._numbers = iter(range(len(sources)))
        self._done: dict[int, Outcome] = {}
        self._next = self._hopeless = 0
        self._asking: dict[str, asyncio.Lock] = {}
        # one picture at a time: no reader promises to serve several threads
        self._preparing = asyncio.Lock()

    async def run(self, retry: Retry | None, on_wait: Callable[[str], None]) -> None:
        async with (
            Client(self._endpoint, retry, on_wait) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(self._endpoint.concurrency, len(self._sources))):
                group.create_task(self._work(client))

    async def _work(self, client: Client) -> None:
        for number in self._numbers:
            try:
                outcome: Outcome = await self._caption(client, self._sources[number])
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

    async def _caption(self, client: Client, source: Source) -> str:
        async with self._preparing:
            digest = await asyncio.to_thread(content_digest, source)
        question = {**self._endpoint.question, "jpeg": QUALITY, "picture": digest}
        # of two equal pictures the second waits for the answer to the first
        async with self._asking.setdefault(digest, asyncio.Lock()):
            known = self._cache.read(question)
            if known is not None:
                self.tally.known += 1
                return known
            async with self._preparing:
                uri = await asyncio.to_thread(as_data_uri, source, self._endpoint.max_side)
            caption = await client.ask(uri)
            self._cache.write(question, caption)
        self.tally.asked += 1
        return caption
