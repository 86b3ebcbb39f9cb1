"""What a command prints ends no command: any encoding, and readers that go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captionlab.commands.predict import find_images
from captionlab.data.files import data_root
from captionlab.errors import UserError
from tests_support import HANG

SAY = (
    "import sys\n"
    "from captionlab.commands.door import answers\n"
    "from captionlab.errors import UserError\n"
    "with answers(False):\n"
)


def run(code: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    """Run lines within ``answers``, as every command does, in a process of its own."""
    return subprocess.run([sys.executable, "-c", SAY + code], timeout=HANG, check=False, **how)  # type: ignore[call-overload]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
def test_what_an_encoding_lacks_is_written_as_an_escape(encoding: str):
    code = "    print('狗 é ─ …')\n    raise UserError('no 狗 é 🐕')"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = run(code, capture_output=True, env=env)
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr
    printed = (
        ended.stdout.decode(encoding)
        .encode()
        .decode("unicode_escape" if encoding == "ascii" else "utf-8")
    )
    assert ("狗" in printed) == (encoding != "latin-1")
    assert ended.stderr.decode(encoding).startswith("error: no ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_ends_nothing(tmp_path: Path, unbuffered: str):
    code = (
        "    for i in range(20_000): print('a line that nobody reads', i)\n"
        f"    open({str(tmp_path / 'result')!r}, 'w').write('written')\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ended = run(code, stdout=writer, stderr=subprocess.PIPE, env=env)
    os.close(writer)
    assert ended.returncode == 0
    assert ended.stderr == b""
    assert (tmp_path / "result").read_text() == "written"


def test_a_full_disk_behind_stdout_is_said(tmp_path: Path):
    code = "    from captionlab.commands.streams import require_said\n    print('x' * 9)\n    require_said()"
    with open("/dev/full", "wb") as full:
        ended = run(code, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert b"could not be written (No space left on device)" in ended.stderr


def test_closed_streams_are_no_others(tmp_path: Path):
    """Without this, the first file that is opened would get what is printed."""
    code = (
        f"    with open({str(tmp_path / 'a')!r}, 'w') as file: print('printed'); file.write('own')"
    )
    command = f'exec {sys.executable} -c "$CODE" <&- >&- 2>&-'
    env = {**os.environ, "CODE": SAY + code}
    ended = subprocess.run(["sh", "-c", command], timeout=HANG, check=False, env=env)
    assert ended.returncode == 0
    assert (tmp_path / "a").read_text() == "own"


def test_addresses_are_not_fetched():
    with pytest.raises(UserError, match=r"https:/host/a\.jpg is an address"):
        find_images(["https://host/a.jpg"])
    with pytest.raises(UserError, match=r"data\.root=s3://bucket/data is an address"):
        data_root("s3://bucket/data", "ROOT")
