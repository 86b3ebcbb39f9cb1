"""A run's folder is its own: claimed before anything is written, never written over by another run."""

from __future__ import annotations

import errno
import itertools
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from captionlab.config.override_syntax import override_text
from captionlab.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
# by which the processes that a run starts know its folder
FOLDER_VARIABLE = "CAPTIONLAB_RUN_FOLDER"
# what an evaluation of the test split leaves
SCORE_FILES = ("results.json", "captions.json", "references.json", "statistics.npz")
# what these variables hold, where they are set, is 0 for the first process of a run alone
_RANKS = ("SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")


def is_first_process() -> bool:
    """Return whether this is the process of a run that writes, by what its launcher has set."""
    if rank := os.environ.get("RANK"):
        return int(rank) == 0
    return all(int(os.environ.get(name) or 0) == 0 for name in _RANKS)


@contextmanager
def claim_run_folder(
    folder: Path,
    *,
    is_chosen: bool,
    resumes: Path | None,
    is_job: bool,
    on_change: Callable[[str], None] = lambda folder: None,
) -> Iterator[Path]:
    """Hold a run's folder while it runs, and give the one that was free; an empty one is removed.

    Args:
        folder: as configured.
        is_chosen: the user named it; else one in use gets a suffix, -2 and so on.
        resumes: the checkpoint that the run goes on from, whose folder may hold its results.
        is_job: a job of a sweep, which has made sure that the folder is its own.
        on_change: called with the folder where it is another one than ``folder``.

    Raises:
        UserError: if the folder that the user chose holds another run, or one is at work there.
    """
    if not is_first_process():
        place = Path(os.environ.get(FOLDER_VARIABLE, folder))
        if place != folder:
            on_change(str(place))
        try:
            yield place
        finally:
            # at the end alone: before, the first process may be about to put its lock there
            _remove_empty(place, folder, is_chosen)
        return
    place, lock = _lock_free_folder(folder, is_chosen, resumes, is_job)
    if place != folder:
        on_change(str(place))
    os.environ[FOLDER_VARIABLE] = str(place)
    try:
        yield place
    finally:
        os.environ.pop(FOLDER_VARIABLE, None)
        _release(lock, place)
        _remove_empty(place, folder, is_chosen)


def _remove_empty(place: Path, folder: Path, is_chosen: bool) -> None:
    """Remove what Hydra made for a run that wrote nothing there."""
    for empty in (place, folder) if is_chosen else (place, folder, folder.parent):
        with suppress(OSError):
            empty.rmdir()


def _lock_free_folder(
    folder: Path, is_chosen: bool, resumes: Path | None, is_job: bool
) -> tuple[Path, IO[str]]:
    """Return ``folder``, or else -2, -3 and so on, with its held lock."""
    for place in _numbered(folder):
        lock = _lock(place, is_job or _is_inside(resumes, place))
        if lock is not None:
            return place, lock
        if is_chosen or is_job:
            break
    raise UserError(_in_use(folder, resumes))


def _numbered(folder: Path) -> Iterator[Path]:
    """Yield ``folder``, and the same with -2, -3 and so on."""
    yield folder
    for number in itertools.count(2):
        yield folder.with_name(f"{folder.name}-{number}")


def _release(lock: IO[str], folder: Path) -> None:
    # unlinked while it is held: whoever has opened it meanwhile looks whether it is still there
    with suppress(OSError):
        (folder / LOCK).unlink()
    lock.close()


def new_folder(folder: Path) -> Path:
    """Make a folder that was not there, and return it: ``folder``, or else -2, -3 and so on."""
    return next(filter(_make_new, _numbered(folder)))


def _make_new(folder: Path) -> bool:
    """Make a folder, and return whether it was not there before."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _is_inside(checkpoint: Path | None, folder: Path) -> bool:
    return checkpoint is not None and checkpoint.resolve().is_relative_to(folder.resolve())


def holds_run(folder: Path) -> bool:
    """Return whether a run has left something there that another one must not write over."""
    return any((folder / name).exists() for name in SCORE_FILES) or any(
        (folder / "checkpoints").glob("*.ckpt")
    )


def _lock(folder: Path, may_hold_run: bool) -> IO[str] | None:
    """Return the held lock of a folder; None if another run is at work there, or was."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("a+")
        except FileNotFoundError:
            continue  # the run that was there removed its empty folder in between
        if not _try_lock(lock):
            lock.close()
            return None
        if not _is_current(lock, folder / LOCK):
            lock.close()
            continue
        if may_hold_run or not holds_run(folder):
            return lock
        _release(lock, folder)
        return None


def _try_lock(lock: IO[str]) -> bool:
    """Lock a file for this process, without waiting, and return whether that worked.

    A process that dies lets go of its lock.
    """
    if fcntl is None:
        return True
    try:
        # a record lock, which loading processes that are forked later do not hold on to
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # some network disks have no locks: what the folder holds must do there
        return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
    return True


def _is_current(lock: IO[str], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    return False


def _in_use(folder: Path, resumes: Path | None) -> str:
    last = folder / "checkpoints" / "last.ckpt"
    if not holds_run(folder):
        return f"{folder} is the folder of a run that is at work: choose another hydra.run.dir"
    on = (
        f"go on with it by {shlex.quote(override_text('ckpt', str(last)))}"
        if last.exists()
        else "look at what it holds"
    )
    if resumes is not None:
        on += f" (ckpt={resumes} lies elsewhere)"
    return f"{folder} holds another run: choose another hydra.run.dir, or {on}"


def set_scores_aside(folder: Path, epochs: int, log: Callable[..., None]) -> None:
    """Move the scores of a run that is trained on into a folder of their own.

    They are of fewer epochs than the run will have, and would be taken for its own.
    """
    old = [folder / name for name in SCORE_FILES if (folder / name).exists()]
    if not old:
        return
    aside = folder / f"scores-after-epoch-{epochs}"
    aside.mkdir(exist_ok=True)
    for path in old:
        os.replace(path, aside / path.name)
    log("scores     of the first %s epochs are kept in %s", epochs, aside)
