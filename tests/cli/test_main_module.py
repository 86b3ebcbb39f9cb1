"""``python -m captionlab`` is the command ``captionlab``."""

import subprocess
import sys

import pytest

from captionlab import __version__
from captionlab.cli.commands import COMMANDS
from captionlab.cli.main import parser


def test_every_command_has_its_help_beside_it(capsys: pytest.CaptureFixture[str]):
    lines = parser().format_help().splitlines()
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        assert any(line.split()[:1] == [name] and len(line.split()) > 1 for line in lines), name


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--version"], 0, f"captionlab {__version__}"),
        (["inspect", "data=autos"], 2, "data=auto"),
        (["predcit"], 2, "invalid choice: 'predcit'"),
    ],
    ids=["version", "mistake", "command"],
)
def test_the_package_runs_as_the_command(arguments: list[str], status: int, words: str):
    done = subprocess.run(
        [sys.executable, "-m", "captionlab", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
