import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from captionlab.cli import main as cli
from captionlab.cli.hydra_main import explained_errors
from captionlab.cli.streams import LastingWriter, has_reader, prepare_streams
from tests_support import HANG

ODD = "狗 …─é \udcff"
TALK = """
import sys
from captionlab.cli.hydra_main import explained_errors
from captionlab.cli.streams import has_reader, require_written
with explained_errors(False):
    for _ in range(10_000):
        print("some words", flush=True)
    open("results", "w").write(str(has_reader()))
    print("so many words", file=sys.stderr)
    require_written()
"""
BUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"])


def talk(folder: Path, redirected: str, unbuffered: str) -> subprocess.CompletedProcess:
    """Run TALK in a shell that redirects it; the status is its own."""
    (folder / "talk.py").write_text(TALK)
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" talk.py {redirected}'],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=HANG,
    )


def streams_of(monkeypatch, encoding: str) -> io.BytesIO:
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding, write_through=True))
    return written


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "utf-8"])
def test_every_encoding_takes_every_character(monkeypatch, encoding: str):
    written = streams_of(monkeypatch, encoding)
    table = Table(title=ODD)
    table.add_row("狗" * 300)
    with explained_errors(False):
        print(ODD)
        print(ODD, file=sys.stderr)
        Console(width=20).print(table)
    text = written.getvalue().decode(encoding)
    assert "\\udcff" in text
    assert ("狗" if encoding in ("gbk", "utf-8") else "\\u72d7") in text


def test_a_sentence_about_wrong_input_is_said_in_any_encoding(monkeypatch):
    written = streams_of(monkeypatch, "ascii")
    with pytest.raises(SystemExit) as end:
        cli.main(["predict", "狗.ckpt", "狗.jpg"])
    assert end.value.code == 2
    assert written.getvalue().startswith(b"error: There is no file or folder \\u72d7.jpg")


def test_what_a_notebook_put_in_place_of_stdout_stays(monkeypatch):
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    prepare_streams()
    assert sys.stdout is mine
    assert has_reader()


@BUFFERED
def test_a_reader_that_leaves_does_not_end_a_command(tmp_path: Path, unbuffered: str):
    done = talk(tmp_path, "| head -1", unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (0, "some words\n", "so many words\n")
    assert (tmp_path / "results").read_text() == "False"


@BUFFERED
def test_a_closed_stdout_does_not_end_a_command(tmp_path: Path, unbuffered: str):
    done = talk(tmp_path, ">&- <&-", unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "so many words\n")
    # what is printed goes into no file that was opened under the number of stdout
    assert (tmp_path / "results").read_text() == "True"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@BUFFERED
def test_a_full_disk_below_stdout_is_told_after_the_results(tmp_path: Path, unbuffered: str):
    done = talk(tmp_path, "> /dev/full", unbuffered)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: what this command prints could not be")
    assert (tmp_path / "results").read_text() == "True"


def test_a_pipe_that_does_not_wait_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    got: list[bytes] = []

    def read() -> None:
        time.sleep(0.05)  # until the pipe is full
        with os.fdopen(reading, "rb") as file:
            got.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with LastingWriter(writing, "w") as raw:
        assert raw.write(b"x" * 1_000_000) == 1_000_000
        assert raw.error is None
    reader.join()
    assert len(got[0]) == 1_000_000


@pytest.mark.slow
def test_evaluate_leaves_its_results_on_an_ascii_terminal_without_a_reader(
    finished_run: Path, tmp_path: Path
):
    command = f'"{sys.executable}" -m captionlab.cli.main evaluate "$0" --out "$1" | true'
    checkpoint = finished_run / "checkpoints" / "best.ckpt"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", checkpoint, tmp_path / "out"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "results.json").exists()


def test_predict_stops_when_nobody_reads_it(finished_run: Path, tmp_path: Path, monkeypatch):
    from PIL import Image

    from captionlab.cli import predict as module

    for number in range(6):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{number}.png")
    reading, writing = os.pipe()
    os.close(reading)
    captioned = []
    original = module._write
    monkeypatch.setattr(module, "_write", lambda *a: (captioned.append(a), original(*a)))
    with io.TextIOWrapper(io.BufferedWriter(LastingWriter(writing, "w"))) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        checkpoint = str(finished_run / "checkpoints" / "best.ckpt")
        assert module.predict(checkpoint, [str(tmp_path)], batch_size=2) == 0
        monkeypatch.undo()
    assert len(captioned) == 2
