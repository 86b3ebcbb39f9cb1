"""Several processes that serve at one port, and one that watches them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from captionlab.applications.serve.monitoring import MULTIPROCESS

SOONEST = 10.0  # seconds; what ends before has not been serving
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def supervise(count: int, target: Callable[..., None], arguments: tuple[Any, ...]) -> int:
    """Run ``target`` in processes until SIGTERM or Ctrl-C, and return the exit status.

    One that dies is replaced; where one dies as it begins, all end, with status 1.
    """
    # a socket is handed on to processes that are started anew
    multiprocessing.allow_connection_pickling()
    with tempfile.TemporaryDirectory(prefix="captionlab-metrics-") as folder:
        os.environ[MULTIPROCESS] = folder  # where the processes add their figures
        return _Supervisor(target, arguments).run(count)


class _Supervisor:
    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._target, self._arguments = target, arguments
        self._started: dict[Any, float] = {}
        self._ending = False

    def run(self, count: int) -> int:
        before = {number: signal.signal(number, self._end) for number in SIGNALS}
        try:
            for _ in range(count):
                self._start()
            return self._watch()
        finally:
            self._end()
            for process in self._started:
                process.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        process = self._context.Process(
            target=_run, args=(self._target, self._arguments), daemon=True
        )
        process.start()
        self._started[process] = time.monotonic()

    def _end(self, *signals: Any) -> None:
        self._ending = True
        for process in self._started:
            if process.is_alive():
                process.terminate()

    def _watch(self) -> int:
        while self._started:
            # a timeout: a signal's handler does not end the wait
            for sentinel in connection.wait([one.sentinel for one in self._started], timeout=0.5):
                process = next(one for one in self._started if one.sentinel == sentinel)
                if not self._replaced(process):
                    return 1
        return 0

    def _replaced(self, process: Any) -> bool:
        """Start another in place of a process that has ended; return whether that makes sense."""
        lived = time.monotonic() - self._started.pop(process)
        if self._ending:
            return True
        if lived < SOONEST:
            print(f"error: a process ended as it began ({process.exitcode})", file=sys.stderr)
            return False
        print(f"note: a process has ended ({process.exitcode}); another begins", file=sys.stderr)
        self._start()
        return True


def _run(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    target(*arguments)


def _end_with(sentinel: int) -> None:
    """End this process when the one that watches it has been killed."""
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
