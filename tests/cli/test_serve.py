"""``captionlab serve``: what it refuses before it listens, and how it ends."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from captionlab.applications.serve.identity import calibration_of, fingerprint
from captionlab.applications.serve.server import Source, serve
from captionlab.applications.serve.settings import ServeSettings
from captionlab.cli.main import main
from captionlab.cli.serve import read_token
from captionlab.core.errors import UserError
from captionlab.metrics.calibration import Calibration
from serve_support import CHECKPOINTS, files_of
from tests_support import HANG

LSTM = str(CHECKPOINTS / "lstm.ckpt")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere.ckpt", "--port", "0"], "nowhere.ckpt"),
        ([LSTM, "--port", "70000"], "--port 70000"),
        ([LSTM, "--port", "0", "--workers", "0"], "--workers 0 is too small"),
        ([LSTM, "--port", "0", "--timeout", "0"], "--timeout 0.0 is too small"),
        ([LSTM, "--port", "0", "--host", "256.0.0.1"], "--host 256.0.0.1"),
        ([LSTM, "--port", "0", "--token-variable", "NO_SUCH_TOKEN"], "--token-variable"),
        ([LSTM, "--port", "0", "--set", "decoding=best"], "decoding=best"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_served(capsys, arguments, part):
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert part in error
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: another program"):
            serve(Source((LSTM,)), ServeSettings(port=port))


@pytest.mark.parametrize("value", ["", "short", "with blanks and long enough", "é" * 20])
def test_a_token_is_hard_to_guess_and_shown_nowhere(monkeypatch, value):
    monkeypatch.setenv("THE_TOKEN", value)
    with pytest.raises(UserError) as caught:
        read_token("THE_TOKEN")
    assert "blanks and long" not in str(caught.value)
    with pytest.raises(UserError) as caught:
        read_token("sk-given-itself")
    assert "sk-given" not in str(caught.value)
    monkeypatch.setenv("THE_TOKEN", "x" * 16)
    assert read_token("THE_TOKEN") == "x" * 16
    assert read_token(None) is None


def test_a_version_is_of_the_files_and_a_calibration_of_its_checkpoint(tmp_path, caplog):
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    before = fingerprint([str(checkpoint)])
    assert calibration_of([str(checkpoint)]) is None
    calibration = Calibration("log_odds", 2.0, 0.5, checkpoint_sha256="0" * 64)
    calibration.write(tmp_path / "calibration.json")
    assert calibration_of([str(checkpoint)]) is None
    assert "of another checkpoint" in caplog.text
    # of a folder, whose files change with it
    Calibration("log_odds", 2.0, 0.5).write(tmp_path / "calibration.json")
    assert calibration_of([str(checkpoint)]) is None
    digest = hashlib.sha256(b"weights").hexdigest()
    calibration = Calibration("log_odds", 2.0, 0.5, checkpoint_sha256=digest)
    calibration.write(tmp_path / "calibration.json")
    assert calibration_of([str(checkpoint)]) == calibration
    (tmp_path / "calibration.json").write_text("{")
    assert calibration_of([str(checkpoint)]) is None
    checkpoint.write_bytes(b"others")
    assert fingerprint([str(checkpoint)]) != before
    assert fingerprint(["hf://somebody/model"]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_answers_and_ends_with_status_0(workers):
    command = [sys.executable, "-m", "captionlab", "serve", LSTM, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().split()[2]
        for _ in range(2 * workers):
            answer = httpx.post(f"{url}/v1/caption", files=files_of(), timeout=HANG)
            assert answer.status_code == 200
        figures = httpx.get(f"{url}/metrics").text
        assert (
            f'captionlab_requests_total{{path="/v1/caption",status="200"}} {2.0 * workers}'
            in figures
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced():
    if not Path("/proc/self/task").exists():
        pytest.skip("no /proc tells the children of a process here")
    command = [sys.executable, "-m", "captionlab", "serve", LSTM, "--port", "0", "--workers", "1"]
    script = (
        "import captionlab.applications.serve.workers as w, sys; w.SOONEST = 0.0\n"
        "from captionlab.applications.serve.server import Source, run_worker, listen\n"
        "from captionlab.applications.serve.settings import ServeSettings\n"
        "s = ServeSettings(workers=2); l = listen('127.0.0.1', 0)\n"
        "if __name__ == '__main__':\n"
        "    print(l.getsockname()[1], flush=True)\n"
        f"    sys.exit(w.supervise(2, run_worker, (Source(({LSTM!r},)), s, l)))\n"
    )
    process = subprocess.Popen([*command[:1], "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        assert httpx.get(f"{url}/ready", timeout=HANG).status_code == 200
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)
        assert httpx.get(f"{url}/ready", timeout=HANG).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0
