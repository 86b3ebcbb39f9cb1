import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from captionlab.config.explain import explain
from captionlab.core.errors import UserError
from captionlab.core.files import replacing, require_file_place, require_folder_place
from tests_support import HANG


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


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def reader_of(path: Path) -> tuple[threading.Thread, list[str]]:
    """Read a pipe aside, for who opens it to write waits for a reader."""
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(path.read_text()), daemon=True)
    thread.start()
    return thread, got


def test_a_pipe_is_written_into(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, got = reader_of(pipe)
    write(pipe, "new")
    reader.join(10)
    assert got == ["new"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_gets_nothing_of_a_failed_block(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, got = reader_of(pipe)

    def write_half() -> None:
        with replacing(pipe) as temporary:
            temporary.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        write_half()
    pipe.write_text("")
    reader.join(10)
    assert got == [""]


def test_a_pipe_whose_reader_left_is_a_sentence(tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(OSError) as error:  # noqa: PT011
        write(Path(f"/dev/fd/{writing}"), "new")
    os.close(writing)
    assert explain(error.value).startswith(f"/dev/fd/{writing} cannot be read or written (Broken")
    assert explain(BrokenPipeError(errno.EPIPE, "of no file")) is None


def test_a_device_stays(tmp_path: Path):
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    write(link, "new")
    assert link.is_symlink()
    assert Path(os.devnull).is_char_device()


def test_stdout_by_name_goes_on_where_stdout_is(tmp_path: Path):
    script = (
        "from captionlab.core.files import replacing\nfrom pathlib import Path\n"
        "print('before')\n"
        "with replacing(Path('/dev/stdout')) as file: file.write_text('new\\n')\n"
        "print('after')\n"
    )
    out = tmp_path / "out"
    out.write_text("old\n")
    with out.open("a") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True, timeout=HANG)
    assert out.read_text() == "old\nbefore\nnew\nafter\n"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("before", ["old", None])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path, before: str | None):
    real, link, second = tmp_path / "real" / "a.json", tmp_path / "link", tmp_path / "second"
    real.parent.mkdir()
    if before is not None:
        real.write_text(before)
    link.symlink_to("real/a.json")
    second.symlink_to(link)
    with replacing(second) as temporary:
        assert temporary.parent == real.parent
        temporary.write_text("new")
        assert (real.read_text() if before else None) == before
    assert real.read_text() == "new"
    assert link.is_symlink()
    assert second.is_symlink()
    assert list(real.parent.iterdir()) == [real]


def test_a_link_without_an_end_or_into_nowhere_is_a_sentence(tmp_path: Path):
    loop, lost = tmp_path / "loop", tmp_path / "lost"
    loop.symlink_to(loop)
    lost.symlink_to("nowhere/a.json")
    for link, part in ((loop, "leads to itself"), (lost, "No such file")):
        with pytest.raises(OSError) as error:  # noqa: PT011
            write(link, "new")
        assert explain(error.value).startswith(f"{link} cannot be")
        assert part in explain(error.value)
        assert link.is_symlink()


def test_a_place_for_a_file_is_looked_at_before_any_work(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    lost = tmp_path / "lost"
    lost.symlink_to("nowhere/a.json")
    os.mkfifo(tmp_path / "pipe")
    for good in (file, tmp_path / "new", tmp_path / "pipe", Path("/dev/stdout"), Path("new")):
        assert require_file_place(str(good), "--out ") == good
    for bad, part in (
        (tmp_path, "is a folder: name a file in it"),
        (tmp_path / "no" / "file", "there is no folder"),
        (lost, "there is no folder"),
        ("s3://bucket/file", "is an address"),
    ):
        with pytest.raises(UserError, match=f"^--out .*{part}"):
            require_file_place(str(bad), "--out ")
    assert require_file_place(str(tmp_path / "no" / "file"), "--csv ", new_folder=True)
    with pytest.raises(UserError, match="file is no folder"):
        require_file_place(str(file / "file"), "--csv ", new_folder=True)


def test_a_place_for_a_folder_is_looked_at_before_any_work(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    for good in (tmp_path, tmp_path / "new" / "deep", Path("new")):
        assert require_folder_place(str(good), "out=") == good
    for bad, part in (
        (file, "is no folder"),
        (file / "x", "is no folder"),
        ("gs://b/x", "address"),
    ):
        with pytest.raises(UserError, match=f"^out=.*{part}"):
            require_folder_place(str(bad), "out=")


def test_a_text_takes_the_place_of_a_text_alone(tmp_path: Path):
    page, checkpoint = tmp_path / "page.html", tmp_path / "best.ckpt"
    page.write_text("<html>")
    checkpoint.write_bytes(b"PK\x03\x04\0\0")
    assert require_file_place(str(page), "--out ") == page
    with pytest.raises(UserError, match=r"--out .*best\.ckpt is there and is no text"):
        require_file_place(str(checkpoint), "--out ")
    assert require_file_place(str(checkpoint), "--out ", binary=True) == checkpoint
