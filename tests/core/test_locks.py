"""Locks between processes: several share one, or one holds it alone; a death lets go of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from captionlab.core.locks import exclusive_lock, exclusive_lock_if_free, shared_lock


def is_free(path: Path) -> bool:
    with exclusive_lock_if_free(path) as free:
        return free


def test_a_shared_lock_keeps_out_who_wants_it_alone(tmp_path: Path):
    lock = tmp_path / "lock"
    with shared_lock(lock), shared_lock(lock):
        assert not is_free(lock)
    assert is_free(lock)
    with exclusive_lock(lock):
        assert not is_free(lock)


def test_a_lock_is_shared_where_its_file_can_only_be_read(tmp_path: Path, monkeypatch):
    lock = tmp_path / "lock"
    lock.touch()
    opened = os.open

    def read_only(path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    with shared_lock(lock):
        pass
    with pytest.raises(PermissionError), exclusive_lock(lock):
        pass


def _hold(path: Path, is_held: multiprocessing.synchronize.Event) -> None:
    with exclusive_lock(path):
        is_held.set()
        signal.pause()


def test_a_killed_process_lets_go_and_who_waits_is_told_once(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    is_held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", is_held))
    holder.start()
    is_held.wait()
    waits: list[int] = []

    def kill() -> None:
        waits.append(1)
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)

    with exclusive_lock(tmp_path / "lock", kill):
        assert waits == [1]
    holder.join()
