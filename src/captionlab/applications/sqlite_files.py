"""SQLite files of captionlab's own: made once, and looked at before they are used.

Such a file may come from a stranger. Its schema must be the expected one to the letter, so that no
trigger, view or expression of somebody else's ever runs; it may attach nothing; its size is bounded.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionlab.core.addresses import require_local
from captionlab.core.errors import UserError

MAGIC = b"SQLite format 3\0"
# at the very end of a journal: another file is named before it (https://sqlite.org/fileformat2.html)
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
LARGEST = 8 * 2**30  # bytes
LONGEST_VALUE = 2**20  # bytes of one value
WAIT = 30.0  # seconds for another process that writes
OLDEST = (3, 37, 0)  # the first with STRICT tables


@dataclass(frozen=True)
class Schema:
    """What a file holds: ``application_id`` marks whose it is, ``version`` which form of it.

    ``statements``: CREATE TABLE and CREATE INDEX, one each. ``holds``: what of, in words.
    """

    application_id: int
    version: int
    statements: Sequence[str]
    holds: str


def open_sqlite(path: Path, schema: Schema, *, new: bool = True) -> sqlite3.Connection:
    """Return a connection in which every transaction is on the disk when it has ended.

    Transactions are begun explicitly (``transaction``). Several threads may use the connection, one
    at a time.

    Args:
        path: the file. schema: what it must hold. new: whether it is made where there is none.

    Raises:
        UserError: if it is no such file, damaged, too large, or cannot be written.
    """
    require_local(path, "--store ", written=True)
    if sqlite3.sqlite_version_info < OLDEST:
        raise UserError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or later is needed")
    is_new = _look_at(path, new)
    _look_beside(path)
    with explained(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if is_new else 'rw'}",
            uri=True,
            timeout=WAIT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _secure(connection)
            if is_new:
                _make(connection, schema)
            _check(connection, path, schema)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Let what a block writes be on the disk together at its end, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class UnusableStore(UserError):  # noqa: N818 - part of the interface, read as a sentence
    """A file that cannot be read or written now: damaged, full, held by another program.

    ``without_path``: the sentence for people on other machines.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.without_path = f"the store {reason}"


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Let an error of SQLite be one sentence about the file, of UnusableStore."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of a text, or of a message
        raise UnusableStore(path, f"cannot be used ({error}): {_way_out(error)}") from None


def _way_out(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or isinstance(
        error, UnicodeDecodeError
    ):
        return "it is damaged or no SQLite file; take a copy of it that is whole"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds it; close that"
    if name.startswith("SQLITE_FULL"):
        return "make room on the disk"
    return "name a file in a folder that can be written"


def _look_at(path: Path, new: bool) -> bool:
    """Return whether there is nothing yet; UserError for what cannot be such a file."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        if not new:
            raise UserError(f"There is no file {path}.") from None
        if not path.parent.is_dir():
            raise UserError(f"{path}: there is no folder {path.parent}") from None
        return True
    if stat.S_ISLNK(about.st_mode):
        raise UserError(
            f"{path} is a link: name the file that it leads to, {os.path.realpath(path)}"
        )
    if not stat.S_ISREG(about.st_mode):
        raise UserError(f"{path} is no file: name one for the answers to go to")
    if about.st_size > LARGEST:
        raise UserError(f"{path} has {about.st_size:,} bytes, more than {LARGEST:,}")
    if about.st_size == 0:
        return True
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{path} is no SQLite file: choose another name for the store")
    return False


def _look_beside(path: Path) -> None:
    """Raise UserError for files beside a store that SQLite would take for its own, and must not.

    A journal may name another file, a super-journal of several databases, which SQLite removes when it
    has undone the journal; a store has none, for it attaches no other database.
    """
    for ending in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        try:
            about = os.lstat(beside)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{beside} is a link or no file: move it away, it belongs to no store")
        if ending != "-journal" or about.st_size < len(JOURNAL_MAGIC):
            continue
        with beside.open("rb") as file:
            file.seek(-len(JOURNAL_MAGIC), os.SEEK_END)
            if file.read() == JOURNAL_MAGIC:
                raise UserError(
                    f"{beside} names another file, which SQLite would remove: somebody made it so; "
                    "move it away"
                )


def _secure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    connection.execute("PRAGMA mmap_size=0")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    defensive = getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE", None)
    if defensive is not None:  # Python 3.12
        connection.setconfig(defensive, True)  # type: ignore[attr-defined]


def _make(connection: sqlite3.Connection, schema: Schema) -> None:
    with transaction(connection):
        # another process may have made it since
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return
        connection.execute(f"PRAGMA application_id={schema.application_id:d}")
        connection.execute(f"PRAGMA user_version={schema.version:d}")
        for statement in schema.statements:
            connection.execute(statement)


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Raise UserError unless the file is of this schema, to the letter, and whole."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != schema.application_id:
        raise UserError(f"{path} is no store of {schema.holds}: choose another name for the store")
    if version != schema.version:
        raise UserError(
            f"{path} is a store of {schema.holds} in form {version}, and this captionlab reads form "
            f"{schema.version}: use the captionlab that wrote it"
        )
    rows = connection.execute(
        "SELECT coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_autoindex!_%' ESCAPE '!'"
    )
    if sorted(sql for (sql,) in rows.fetchmany(100)) != sorted(schema.statements):
        raise UserError(
            f"{path} holds other tables than a store of {schema.holds}: somebody changed it; take a "
            "copy that captionlab wrote"
        )
    for pragma in ("integrity_check(1)", "foreign_key_check"):
        wrong = connection.execute(f"PRAGMA {pragma}").fetchone()
        if wrong is not None and wrong[0] != "ok":
            raise UserError(f"{path} is damaged ({wrong[0]}): take a copy of it that is whole")
