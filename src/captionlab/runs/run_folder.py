"""A run's folder is its own: claimed before anything is written, never written over by another run."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from captionlab.core.errors import UserError
from captionlab.config.override_syntax import override_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
TAKEN = "CAPTIONLAB_RUN_FOLDER"  # by which the processes that a run starts know its folder
# what an evaluation of the test split leaves
SCORED = ("results.json", "captions.json", "references.json", "statistics.npz")
# what these variables hold, where they are set, is 0 for the first process of a run alone
_RANKS = ("SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")


def is_first_process() -> bool:
    """Return whether this is the process of a run that writes, by what its launcher has set."""
    if rank := os.environ.get("RANK"):
        return int(rank) == 0
    return all(int(os.environ.get(name) or 0) == 0 for name in _RANKS)


@contextmanager
def claimed(
    folder: Path,
    *,
    named: bool,
    resumes: Path | None,
    job: bool,
    use: Callable[[str], None] = lambda folder: None,
) -> Iterator[Path]:
    """Hold a run's folder while it runs, and give the one that was free; an empty one is removed.

    Args:
        folder: as configured. named: the user chose it; else a taken one gets a suffix, -2 and so on.
        resumes: the checkpoint that the run goes on from, whose folder may hold its results.
        job: a job of a sweep, which has made sure that the folder is its own.
        use: called with the folder where it is another one than ``folder``.

    Raises:
        UserError: if the folder that the user chose holds another run, or one is at work there.
    """
    if not is_first_process():
        place = Path(os.environ.get(TAKEN, folder))
        if place != folder:
            use(str(place))
        yield place
        return
    number = 1
    place = folder
    while (lock := _take(place, job or _is_inside(resumes, place))) is None:
        if named or job:
            raise UserError(_taken(folder, resumes))
        number += 1
        place = folder.with_name(f"{folder.name}-{number}")
    if place != folder:
        use(str(place))
    os.environ[TAKEN] = str(place)
    try:
        yield place
    finally:
        os.environ.pop(TAKEN, None)
        # unlinked while it is held: whoever has opened it meanwhile looks whether it is still there
        with suppress(OSError):
            (place / LOCK).unlink()
        lock.close()
        for empty in (place, folder) if named else (place, folder, folder.parent):
            with suppress(OSError):
                empty.rmdir()


def new_folder(folder: Path) -> Path:
    """Make a folder that was not there, and return it: ``folder``, or else -2, -3 and so on."""
    number = 1
    while True:
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return place


def _is_inside(checkpoint: Path | None, folder: Path) -> bool:
    return checkpoint is not None and checkpoint.resolve().is_relative_to(folder.resolve())


def holds_run(folder: Path) -> bool:
    """Return whether a run has left something there that another one must not write over."""
    return any((folder / name).exists() for name in SCORED) or any(
        (folder / "checkpoints").glob("*.ckpt")
    )


def _take(folder: Path, may_hold_run: bool) -> IO[Any] | None:
    """Return the held lock of a folder; None if another run is at work there, or was."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / LOCK).open("a+")
        except FileNotFoundError:
            continue  # the run that was there removed its empty folder in between
        if not _locked(lock):
            lock.close()
            return None
        if not _is_current(lock, folder / LOCK):
            lock.close()
            continue
        if may_hold_run or not holds_run(folder):
            return lock
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.close()
        return None


def _locked(lock: IO[Any]) -> bool:
    """Lock a file for this process, without waiting; a process that dies lets go of it."""
    if fcntl is None:
        return True
    try:
        # a record lock, which loading processes that are forked later do not hold on to
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # some network disks have no locks: what the folder holds must do there
        return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
    return True


def _is_current(lock: IO[Any], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    return False


def _taken(folder: Path, resumes: Path | None) -> str:
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
    old = [folder / name for name in SCORED if (folder / name).exists()]
    if not old:
        return
    aside = folder / f"scores-after-epoch-{epochs}"
    aside.mkdir(exist_ok=True)
    for path in old:
        os.replace(path, aside / path.name)
    log("scores     of the first %s epochs are kept in %s", epochs, aside)
