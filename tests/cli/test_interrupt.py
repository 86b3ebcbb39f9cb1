"""Ctrl-C and start-up of train.py as a process of its own."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import torch

from commands_support import SMALL
from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_resume(tmp_path: Path):
    overrides = [o for o in SMALL if "max_epochs" not in o] + ["hydra.run.dir=run"]
    process = subprocess.Popen(
        [sys.executable, TRAIN, *overrides, "trainer.max_epochs=1000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=HANG)
    assert process.returncode == 1, "".join(seen) + rest
    command = re.search(r"^  python (train\.py .*)$", rest, re.MULTILINE)
    assert command is not None, rest
    assert "Traceback" not in rest
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"ckpt={last.relative_to(tmp_path)}" in command.group(1)
    assert torch.load(last, weights_only=True)["global_step"] > 0
    assert not (tmp_path / "run" / "results.json").exists()

    again = shlex.split(command.group(1))[1:]
    again = [o for o in again if "max_epochs" not in o and "run.dir" not in o]
    stopped = torch.load(last, weights_only=True)["epoch"]
    done = subprocess.run(
        [
            sys.executable,
            TRAIN,
            *again,
            f"trainer.max_epochs={stopped + 2}",
            "test=false",
            "hydra.run.dir=on",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        torch.load(tmp_path / "on" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]
        > stopped
    )


def test_help_does_not_load_torch(tmp_path: Path):
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--help']\n"
        f"try:\n    runpy.run_path({TRAIN!r}, run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules or 'pytorch_lightning' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "attn_lstm" in done.stdout
    assert done.stdout.strip().endswith("False")
