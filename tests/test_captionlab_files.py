import errno
import os
import threading
from pathlib import Path

import pytest

from captionlab.configuration import explain
from captionlab.errors import UserError
from captionlab.files import refuse_address, replacing


def test_a_finished_block_replaces_the_file(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_or_interrupted_block_leaves_the_old_file_and_no_rubbish(tmp_path: Path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path):
    path = tmp_path / "a.json"
    path.mkdir()
    with pytest.raises(OSError) as error, replacing(path) as temporary:  # noqa: PT011
        temporary.write_text("new")
    assert explain(error.value) == (
        f"{path} cannot be read or written (Is a directory): move the folder away"
    )
    with pytest.raises(OSError) as error, replacing(tmp_path / "b.json"):  # noqa: PT011
        raise OSError(errno.ENOSPC, "No space left on device")
    assert explain(error.value).startswith(
        f"{tmp_path / 'b.json'} cannot be read or written (No sp"
    )
    assert explain(ConnectionResetError(errno.ECONNRESET, "reset")) is None


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    with replacing(pipe) as temporary:
        temporary.write_text("through it")
    reader.join()
    assert read == ["through it"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("there", [True, False])
def test_what_a_link_leads_to_is_written(tmp_path: Path, there: bool):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.json", tmp_path / "link"
    link.symlink_to(target)
    if there:
        target.write_text("old")
    with replacing(link) as temporary:
        temporary.write_text("new")
        assert temporary.parent == target.parent
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_an_open_file_of_this_process_is_written_itself(tmp_path: Path):
    with (tmp_path / "a.txt").open("w+") as opened:
        with replacing(Path(f"/dev/fd/{opened.fileno()}")) as temporary:
            temporary.write_text("new")
        opened.seek(0)
        assert opened.read() == "new"


@pytest.mark.parametrize(
    "address", ["https://host/a.jpg", "https:/host/a.jpg", "s3://bucket/a", "gs://b", "file:///a"]
)
def test_an_address_is_told_to_be_none_of_a_file(address: str):
    with pytest.raises(UserError, match=r"data\.root=.* is an address, .* download it first"):
        refuse_address(address, "data.root")


@pytest.mark.parametrize("path", ["a/b", "/a/b", "C:/a", "c.jpg", "a:b", "1:/x", ""])
def test_a_path_is_no_address(path: str):
    refuse_address(path)
