"""Images that arrive together are decoded together, in one thread, in the order of their arrival."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class QueueFullError(Exception):
    """More is waiting already than may wait."""


class ClosedError(Exception):
    """Nothing more is taken: the server is about to end."""


@dataclass(eq=False)
class Job(Generic[KeyT, ItemT, ResultT]):
    """One image on its way: what it shares a batch by, what it weighs there, when it is too late."""

    key: KeyT
    item: ItemT
    weight: int
    expires: float
    arrived: float = field(default_factory=time.monotonic)
    result: Future[Timed[ResultT]] = field(default_factory=Future)


@dataclass(frozen=True)
class Timed(Generic[ResultT]):
    """A result, with the seconds that its job waited and that its batch took."""

    value: ResultT
    waited: float
    took: float
    batch: int


class Batcher(Generic[KeyT, ItemT, ResultT]):
    """A bounded queue before a function of batches.

    A batch begins with what waited longest, and takes what has the same key. It is begun as soon as
    the thread is free; only while items are announced (``expecting``) it waits for them, ``wait``
    seconds at most, so that who is alone never waits.

    Args:
        run: returns a result, or an exception, for each item of a batch of one key.
        size: items of a batch. most_weight: of a batch; a heavier item goes alone.
        wait: seconds. most_waiting: items in the queue.
        observe: is told the size and the seconds of each batch.
    """

    def __init__(
        self,
        run: Callable[[KeyT, Sequence[ItemT]], Sequence[ResultT | Exception]],
        *,
        size: int,
        most_weight: int,
        wait: float,
        most_waiting: int,
        observe: Callable[[int, float], Any] = lambda size, seconds: None,
    ) -> None:
        self._run = run
        self._size, self._most_weight = size, most_weight
        self._wait, self._most_waiting = wait, most_waiting
        self._observe = observe
        self._queue: deque[Job[KeyT, ItemT, ResultT]] = deque()
        self._changed = threading.Condition()
        self._announced = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="captioner", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._queue)

    @contextmanager
    def expecting(self, count: int) -> Iterator[Callable[[], None]]:
        """Announce items, whose batch then waits for them; gives what takes that back."""
        left = [count]

        def arrived() -> None:
            with self._changed:
                self._announced -= left[0]
                left[0] = 0
                self._changed.notify_all()

        with self._changed:
            self._announced += count
        try:
            yield arrived
        finally:
            arrived()

    def submit(
        self, key: KeyT, items: Sequence[ItemT], *, weight: int = 1, seconds: float
    ) -> list[Future[Timed[ResultT]]]:
        """Return the results to come of items, all of them or none taken.

        Raises:
            QueueFullError, ClosedError: if they are not taken.
        """
        expires = time.monotonic() + seconds
        jobs: list[Job[KeyT, ItemT, ResultT]] = [Job(key, item, weight, expires) for item in items]
        with self._changed:
            if self._closed:
                raise ClosedError
            if len(self._queue) + len(jobs) > self._most_waiting:
                # who has left takes nobody's place, however long the batch at hand takes
                self._queue = deque(job for job in self._queue if not job.result.cancelled())
            if len(self._queue) + len(jobs) > self._most_waiting:
                raise QueueFullError
            self._queue.extend(jobs)
            self._changed.notify_all()
        return [job.result for job in jobs]

    def close(self) -> None:
        """Take nothing more, finish what waits, end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            self._decode(batch)

    def _next(self) -> list[Job[KeyT, ItemT, ResultT]]:
        """Return the next batch; an empty one when there is none to come."""
        with self._changed:
            while True:
                while not self._queue:
                    if self._closed:
                        return []
                    self._changed.wait()
                self._wait_for_announced()
                if batch := self._taken():
                    return batch

    def _wait_for_announced(self) -> None:
        end = time.monotonic() + self._wait
        while self._announced > 0 and len(self._queue) < self._size and not self._closed:
            left = end - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _taken(self) -> list[Job[KeyT, ItemT, ResultT]]:
        """Return the oldest item and those that go with it; the others stay, but for dropped ones."""
        batch: list[Job[KeyT, ItemT, ResultT]] = []
        left: deque[Job[KeyT, ItemT, ResultT]] = deque()
        now, weight = time.monotonic(), 0
        for job in self._queue:
            if now > job.expires:
                job.result.cancel()
            if job.result.cancelled():
                continue
            fits = len(batch) < self._size and weight + job.weight <= self._most_weight
            if batch and not (fits and job.key == batch[0].key):
                left.append(job)
            # what is begun cannot be canceled any more, and its result is nobody's at worst
            elif job.result.set_running_or_notify_cancel():
                batch.append(job)
                weight += job.weight
        self._queue = left
        return batch

    def _decode(self, batch: list[Job[KeyT, ItemT, ResultT]]) -> None:
        begun = time.monotonic()
        try:
            results = self._run(batch[0].key, [job.item for job in batch])
        except Exception as error:  # whatever it is, the thread goes on with the next batch
            results = [error] * len(batch)
        took = time.monotonic() - begun
        try:
            self._observe(len(batch), took)
        except Exception:  # figures in a file, of a disk that is full: captions go on
            log.exception("a batch was not counted")
        for job, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                job.result.set_exception(result)
            else:
                job.result.set_result(Timed(result, begun - job.arrived, took, len(batch)))
