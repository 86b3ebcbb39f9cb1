"""Several processes of one run: what rank 0 prepares for all, and how they end together."""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen
from types import TracebackType
from typing import Self

import pytorch_lightning as pl
import torch.distributed as dist

# seconds for processes that have yet to hear that there is nothing to do: on a busy machine one takes
# more than a minute to begin
PATIENCE = 300.0
# seconds for a process to end whose connections broke; it ends by itself, unless it hangs
LAST_WORDS = 120.0
log = logging.getLogger(__name__)

Results = dict[str, object]  # what can be pickled


class RankZeroFirst:
    """Rank 0 goes ahead: it reads and checks everything, and the other ranks begin with its results.

    So a mistake is reported once, what is computed from the data is computed once, and all ranks have
    the same. Where Lightning starts the processes, the others are not there before ``broadcast``;
    where a cluster does (SLURM, torchrun), they wait in ``receive``, and end there if rank 0 fails.

        with RankZeroFirst(trainer) as ranks:
            results = ranks.receive() or compute()
            ...
            ranks.broadcast(results)
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self._trainer = trainer
        launcher = trainer.strategy.launcher
        # processes that are forks of this one have what it has
        forked = launcher is None or launcher.is_interactive_compatible
        self._alone = trainer.world_size == 1 or forked
        self._first = trainer.is_global_zero
        self._environment = getattr(trainer.strategy, "cluster_environment", None)
        self._sent = False

    def __enter__(self) -> Self:
        return self

    def receive(self) -> Results | None:
        """Return what rank 0 broadcasts, waiting for it; None on rank 0 itself.

        Raises:
            SystemExit: with status 2, if rank 0 failed; it says why.
        """
        if self._alone or self._first:
            return None
        self._connect()
        received: Results | None = self._trainer.strategy.broadcast(None)
        if received is None:
            sys.exit(2)
        return received

    def broadcast(self, results: Results) -> None:
        """Start the other processes where nobody else does, and hand them rank 0's results."""
        if not self._alone and self._first:
            self._send(results)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Ctrl-C comes to the others as it came here
        if not isinstance(error, Exception) or self._sent or self._alone or not self._first:
            return
        cluster = self._environment
        waiting = cluster is not None and cluster.creates_processes_externally
        if waiting or self._trainer.num_nodes > 1:
            # aside: the sentence must come out first, though the others are late, or never come
            messenger = threading.Thread(target=self._send, args=(None,), daemon=True)
            messenger.start()
            atexit.register(_wait_for, messenger)

    def _send(self, results: Results | None) -> None:
        self._sent = True
        self._connect()
        self._trainer.strategy.broadcast(results)

    def _connect(self) -> None:
        """Start what processes are missing and connect them: what ``fit`` would do first."""
        strategy = self._trainer.strategy
        assert strategy.launcher is not None  # then this rank would be alone
        if self._first and self._trainer.num_nodes > 1 and self._environment is not None:
            log.info(
                "waiting    for %s machines in all at %s, port %s (MASTER_ADDR, MASTER_PORT)",
                self._trainer.num_nodes,
                self._environment.main_address,
                self._environment.main_port,
            )
        strategy.launcher.launch(strategy.setup_environment, trainer=self._trainer)


@contextmanager
def exit_together(trainer: pl.Trainer) -> Iterator[None]:
    """End this process without a word where another one ended first: that one says why.

    Raises:
        SystemExit: with the status of the other where this process started it, else 1.
    """
    try:
        yield
    except RuntimeError as error:
        if trainer.world_size == 1 or not _of_another(error):
            raise
        children: list[Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
        started = children.copy()
        # out of the sight of Lightning's observer, which kills this process for a child that failed
        children.clear()
        status = _status(started)
        if status < 0:  # it had no time for a message
            log.error(
                "a process of this run was killed by %s, as a machine without memory does",
                signal.Signals(-status).name,
            )
        sys.exit(status if status > 0 else 1)


def _wait_for(messenger: threading.Thread) -> None:
    """Stay until the other processes have heard that there is nothing to do; Ctrl-C ends it."""
    with suppress(KeyboardInterrupt):
        messenger.join(PATIENCE)


def _of_another(error: RuntimeError) -> bool:
    """Return whether a connection broke: gloo says so in words alone."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _status(children: list[Popen[bytes]]) -> int:
    """Wait until one child has ended, and return how the first one that failed did; 0 where none.

    A connection breaks before the process at its other end has ended, which takes a busy machine
    seconds. A child that only lost its own connections ends with 1: any other status is the cause.
    """
    deadline = time.monotonic() + LAST_WORDS
    while children and time.monotonic() < deadline:
        ended = [child.returncode for child in children if child.poll() is not None]
        if ended:
            failed = [int(status) for status in ended if status]
            return next((status for status in failed if status != 1), failed[0] if failed else 0)
        time.sleep(0.1)
    return 0
