"""``python -m captionlab`` is the command ``captionlab``."""

import subprocess
import sys

import pytest

from captionlab import __version__


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
