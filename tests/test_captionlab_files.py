import errno
from pathlib import Path

import pytest

from captionlab.configuration import explain
from captionlab.files import replacing


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
