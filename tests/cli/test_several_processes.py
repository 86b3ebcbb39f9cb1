"""Runs of two processes: launched by Lightning, as two nodes, by a scheduler; failing and killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from captionlab.training.loggers.table import read_table
from commands_support import GAN, SMALL
from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")
TWO = [o for o in SMALL if "devices" not in o] + ["trainer=ddp_cpu", "test=false"]
PATHS = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])

pytestmark = pytest.mark.slow


def start(folder: Path, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, TRAIN, *overrides],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PATHS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, out + err
    return out + err


def left_over(folder: Path) -> list[str]:
    """Return the processes whose working folder is this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder and (process / "cmdline").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_ends_the_others_with_its_own_sentence(rank: int, tmp_path: Path):
    fail = f"+callbacks.fail={{_target_: commands_support.FailOn, rank: {rank}}}"
    process = start(tmp_path, *TWO, fail, "hydra.run.dir=run")
    _, err = process.communicate(timeout=HANG)
    # a rank that went on would wait for the other for gloo's half hour, which is longer than HANG
    assert process.returncode != 0
    assert err.count(f"error: the photograph of rank {rank} is damaged") == 1, err
    assert "Traceback" not in err
    while left_over(tmp_path):  # both hold the pipe that was read to its end, so it is soon
        time.sleep(0.1)


def test_a_mistake_is_said_once_and_nothing_is_written(tmp_path: Path):
    process = start(tmp_path, *TWO, "data.batch_size=15", "hydra.run.dir=run")
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 2
    assert err.count("error:") == 1
    assert "data.batch_size=15 is that of all 2 processes" in err
    assert "data.batch_size=16" in err
    assert not (tmp_path / "run").exists()


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(checkpoint, weights_only=True)
    extra = stored["state_dict"].pop("objective._extra_state", None)
    kept = extra or {}
    judge = kept["adversary"]["network"] if "adversary" in kept else kept.get("reference", {})
    own = {k: v for k, v in stored["state_dict"].items() if isinstance(v, torch.Tensor)}
    random = {f"random {i}": one["cpu"] for i, one in enumerate(stored["random_state"])}
    return {**own, **judge, **random}


PREFERENCE = ["objective=preference", "objective.num_samples=3", "objective.check_steps=0"]


@pytest.mark.parametrize(
    "objective", [[], GAN, PREFERENCE], ids=["likelihood", "adversarial", "preference"]
)
def test_two_processes_of_which_one_is_killed_go_on_as_if_nothing_had_been(
    objective: list[str], tmp_path: Path
):
    kept = [*TWO, *objective, "trainer.max_epochs=3", "scheduler=constant"]
    begin = []
    if objective:
        finished(start(tmp_path, *TWO, "trainer.max_epochs=1", "hydra.run.dir=start"))
        begin = ["init_from=start/checkpoints/last.ckpt"]
    finished(start(tmp_path, *kept, *begin, "hydra.run.dir=whole"))
    kill = "+callbacks.stop={_target_: commands_support.KillAt, where: step, rank: 1}"
    process = start(tmp_path, *kept, *begin, kill, "hydra.run.dir=run")
    process.communicate(timeout=HANG)
    assert process.returncode != 0
    finished(start(tmp_path, *kept, "ckpt=run/checkpoints/last.ckpt", "hydra.run.dir=run"))
    whole, again = (weights(tmp_path / name / "checkpoints/last.ckpt") for name in ("whole", "run"))
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(whole["random 0"], whole["random 1"])  # each rank draws its own
    rows = [read_table(tmp_path / name / "metrics.csv") for name in ("whole", "run")]
    for epoch, row in rows[0].items():
        for name, value in row.items():
            if name != "train/seconds":
                assert rows[1][epoch][name] == value, (epoch, name)


def test_vocabulary_and_frequencies_are_counted_once(tmp_path: Path):
    once = "data.tokenizer._target_=commands_support.counted_once"
    one = [*TWO, "trainer.max_epochs=1", once]
    finished(start(tmp_path, *one, "hydra.run.dir=start"))
    reward = "objective.reward._target_=commands_support.WeighedOnce"
    more = ["objective=self_critical", "objective.check_steps=0", reward]
    begin = "init_from=start/checkpoints/last.ckpt"
    finished(start(tmp_path, *one, *more, begin, "hydra.run.dir=run"))
    assert (tmp_path / "run/document_frequencies.npz").exists()


def test_two_processes_fill_the_index_that_one_fills(tmp_path: Path):
    own = [o for o in TWO if "hidden" not in o and "embedding" not in o and o != "test=false"]
    nearest = [*own, "model=nearest", "model/encoder=small_cnn"]
    finished(start(tmp_path, *nearest, "hydra.run.dir=two"))
    finished(start(tmp_path, *nearest, "trainer.devices=1", "hydra.run.dir=one"))
    one, two = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "two"))
    assert one.pop("data") == two.pop("data")
    assert one == pytest.approx(two)


def free_port(first: int = 20_000, last: int = 30_000) -> str:
    """Return a port that nothing listens on, and that the system gives to nobody who asks for any."""
    begin = os.getpid() % (last - first)
    for step in range(last - first):
        port = first + (begin + step) % (last - first)
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return str(port)
    raise RuntimeError("every port is taken")


def test_two_nodes_and_a_scheduler_train_what_lightnings_own_processes_train(tmp_path: Path):
    one = [*TWO, "trainer.max_epochs=1"]
    finished(start(tmp_path, *one, "hydra.run.dir=own"))
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    several = [*one, "trainer.devices=1", "trainer.num_nodes=2"]
    # folders that carry the time are seldom the same on two nodes
    nodes = [
        start(tmp_path, *several, f"hydra.run.dir=node{n}", NODE_RANK=str(n), **meet)
        for n in (0, 1)
    ]
    job = {
        # its last four digits and 15,000 are Lightning's port
        "SLURM_JOB_ID": str(int(free_port(15_000, 16_000)) - 5_000),
        "SLURM_JOB_NAME": "captions",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": "0",
    }
    by_cluster = ["trainer=slurm", "trainer.accelerator=cpu", "trainer.precision=32-true"]
    said = [finished(node) for node in nodes]
    assert said[1] == ""
    tasks = [
        start(
            tmp_path,
            *(o for o in one if o != "trainer=ddp_cpu"),
            *by_cluster,
            "trainer.devices=2",
            f"hydra.run.dir=task{n}",
            SLURM_PROCID=str(n),
            SLURM_LOCALID=str(n),
            **job,
        )
        for n in (0, 1)
    ]
    said = [finished(task) for task in tasks]
    assert "8 on each of 2 processes" in said[0]
    expected = weights(tmp_path / "own/checkpoints/last.ckpt")
    for folder in ("node", "task"):
        assert not (tmp_path / f"{folder}1").exists()
        for name, value in weights(tmp_path / f"{folder}0/checkpoints/last.ckpt").items():
            assert torch.equal(value, expected[name]), (folder, name)


def test_tasks_of_a_scheduler_end_with_the_first_one(tmp_path: Path):
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    job = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0", **meet}
    wrong = ["data.source.val_size=1", *(o for o in TWO if "val_size" not in o)]
    tasks = [
        start(tmp_path, *wrong, "hydra.run.dir=run", RANK=str(n), LOCAL_RANK=str(n), **job)
        for n in (0, 1)
    ]
    said = [task.communicate(timeout=HANG) for task in tasks]
    assert [task.returncode for task in tasks] == [2, 2]
    assert "The split 'val' of shapes has one image" in said[0][1]
    assert said[1] == ("", "")
    assert not (tmp_path / "run").exists()
