import sqlite3
import struct
from pathlib import Path

import pytest

from captionlab.applications.sqlite_files import JOURNAL_MAGIC, Schema, open_sqlite, transaction
from captionlab.core.errors import UserError

SCHEMA = Schema(
    77, 3, ("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",), "notes"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notes ? #1.sqlite"
    connection = open_sqlite(path, SCHEMA)
    with transaction(connection):
        connection.execute("INSERT INTO notes (text) VALUES ('kept')")
    connection.close()
    return path


def changed(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_transaction_is_whole_or_not_at_all_and_durable(file: Path):
    connection = open_sqlite(file, SCHEMA, new=False)
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.executemany("INSERT INTO notes (text) VALUES (?)", [("more",), (None,)])
    assert connection.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_nothing_can_be_attached(file: Path, tmp_path: Path):
    connection = open_sqlite(file, SCHEMA)
    with pytest.raises(sqlite3.OperationalError, match="too many attached"):
        connection.execute("ATTACH ? AS other", (str(tmp_path / "other.sqlite"),))
    connection.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; END", "other tables"),
        ("CREATE VIEW v AS SELECT * FROM notes", "other tables"),
        ("CREATE INDEX i ON notes (text)", "other tables"),
        ("ALTER TABLE notes ADD COLUMN more TEXT", "other tables"),
        ("DROP TABLE notes", "other tables"),
        ("PRAGMA application_id=1", "is no store of notes"),
        ("PRAGMA user_version=4", "in form 4, and this captionlab reads form 3"),
    ],
)
def test_a_changed_file_is_refused(file: Path, statement: str, message: str):
    changed(file, statement)
    with pytest.raises(UserError, match=message):
        open_sqlite(file, SCHEMA)


def test_a_damaged_file_is_refused_and_left_as_it_is(file: Path):
    content = bytearray(file.read_bytes())
    content[4096:4200] = b"\xff" * 104
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged|malformed"):
        open_sqlite(file, SCHEMA)
    assert file.read_bytes() == bytes(content)


def test_other_files_links_folders_and_missing_ones_are_refused(tmp_path: Path, file: Path):
    (tmp_path / "text").write_text("a dog")
    (tmp_path / "link").symlink_to(file)
    for name, message in (("text", "no SQLite file"), ("link", "is a link"), (".", "is no file")):
        with pytest.raises(UserError, match=message):
            open_sqlite(tmp_path / name, SCHEMA)
    with pytest.raises(UserError, match="There is no file"):
        open_sqlite(tmp_path / "absent", SCHEMA, new=False)
    with pytest.raises(UserError, match="there is no folder"):
        open_sqlite(tmp_path / "no" / "folder.sqlite", SCHEMA)
    assert not (tmp_path / "absent").exists()


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path):
    with (tmp_path / "huge").open("wb") as huge:
        huge.write(b"SQLite format 3\0")
        huge.truncate(9 * 2**30)  # sparse
    with pytest.raises(UserError, match="more than"):
        open_sqlite(tmp_path / "huge", SCHEMA)


def naming_journal(database: Path, other: Path) -> bytes:
    """Return a journal of a database that names another file as its super-journal."""
    name = str(other).encode()
    pages = database.stat().st_size // 4096
    head = (JOURNAL_MAGIC + struct.pack(">5I", 0, 7, pages, 512, 4096)).ljust(512, b"\0")
    place, size, total = struct.pack(">I", 2**18 + 1), len(name), sum(name)
    return head + place + name + struct.pack(">2I", size, total) + JOURNAL_MAGIC


def test_a_journal_that_names_another_file_removes_nothing(file: Path, tmp_path: Path):
    changed(file, "PRAGMA journal_mode=DELETE")
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    journal = file.with_name(f"{file.name}-journal")
    journal.write_bytes(naming_journal(file, other))
    with pytest.raises(UserError, match="names another file"):
        open_sqlite(file, SCHEMA)
    assert other.exists()
    # what SQLite itself does with it, so that the journal above is a real one
    changed(file, "SELECT * FROM notes")
    assert not other.exists()


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_link_beside_a_store_is_not_followed(file: Path, tmp_path: Path, ending: str):
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    file.with_name(f"{file.name}{ending}").symlink_to(other)
    with pytest.raises(UserError, match=f"{ending} is a link"):
        open_sqlite(file, SCHEMA)
    assert other.read_bytes() == b"somebody's"
