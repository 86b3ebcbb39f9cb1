"""The other side of ``--against``: an earlier revision's code in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from measuring.clock import Sample
from measuring.work import Work

BENCHMARKS = Path(__file__).resolve().parent.parent


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Give a folder with the ``src`` and ``conf`` of a revision, which is removed afterwards.

    A folder that holds such a project is taken as it is. SystemExit for neither.
    """
    if (Path(revision) / "src" / "captionlab").is_dir():
        yield Path(revision).resolve()
        return
    command = ["git", "archive", "--format=tar", revision, "src", "conf"]
    packed = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, check=False)
    if packed.returncode:
        reason = packed.stderr.decode().strip()
        sys.exit(f"--against {revision}: neither a revision nor a folder with src/ ({reason})")
    with tempfile.TemporaryDirectory(prefix="captionlab-against-") as folder:
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


class CannotError(Exception):
    """A revision cannot do a work: in one line, why."""


class Revision:
    """A process that measures with another revision's code, in the same way as this one does."""

    def __init__(self, project: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{project / 'src'}:{BENCHMARKS}"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "measuring.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def prepare(self, work: Work) -> dict[str, Any]:
        """Build its side of a work; return what is to know of it. Raises CannotError, saying why."""
        return self._ask({"prepare": work.to_dict()})

    def __call__(self) -> Sample:
        """Return the seconds of one run of the work that was prepared last."""
        answer = self._ask({"sample": True})
        return Sample(answer["cpu"], answer["wall"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise CannotError("its process has ended") from None
        line = process.stdout.readline()
        if not line:
            raise CannotError("its process has ended")
        answer: dict[str, Any] = json.loads(line)
        if "cannot" in answer:
            raise CannotError(answer["cannot"])
        return answer


@contextmanager
def against(revision: str | None) -> Iterator[Revision | None]:
    """Give the other revision's process, or None where none is asked for; end it afterwards."""
    if revision is None:
        yield None
        return
    with checked_out(revision) as project:
        process = Revision(project)
        try:
            yield process
        finally:
            process.close()
