"""Launchers of others: joblib's worker processes, and SLURM by submitit, whose commands stand in here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from commands_support import SMALL
from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")
JOBS = [o for o in SMALL if "devices" not in o and "max_epochs" not in o]
JOBS += ["trainer.max_epochs=1", "test=true"]

# what a cluster has: one command that takes a script with its wishes, one that starts the tasks
SBATCH = r"""#!{python}
import os, pathlib, re, subprocess, sys
script = pathlib.Path(sys.argv[-1]).read_text()
wish = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", script))
first, last = map(int, wish["array"].partition("%")[0].split("-"))
runs = [{{"SLURM_ARRAY_JOB_ID": "900", "SLURM_ARRAY_TASK_ID": str(n), "SLURM_JOB_ID": str(900 + n),
          "SLURM_JOB_NAME": wish["job-name"], "SLURM_NTASKS_PER_NODE": wish["ntasks-per-node"],
          "SLURM_NNODES": wish["nodes"], "SLURM_JOB_NODELIST": "localhost",
          "SLURM_NODELIST": "localhost"}} for n in range(first, last + 1)]
(pathlib.Path(__file__).parent / "script.sh").write_text(script)
if os.fork():
    print("Submitted batch job 900")
    sys.exit()
os.setsid()
log = open(pathlib.Path(__file__).parent / "sbatch.log", "w")
os.dup2(log.fileno(), 1)  # who submits waits for the end of what is printed
os.dup2(log.fileno(), 2)
for run in runs:
    subprocess.run(["bash", "-c", script], env={{**os.environ, **run}})
"""
SRUN = r"""#!{python}
import os, subprocess, sys
tasks = int(os.environ["SLURM_NTASKS_PER_NODE"])
job = os.environ["SLURM_ARRAY_JOB_ID"] + "_" + os.environ["SLURM_ARRAY_TASK_ID"]
words = [w.replace("%A_%a", job) for w in sys.argv[2:]]
out, err, command = words[1], words[3], words[4:]
running = []
for n in range(tasks):
    own = {{"SLURM_PROCID": str(n), "SLURM_LOCALID": str(n), "SLURM_NODEID": "0",
            "SLURM_NTASKS": str(tasks)}}
    streams = [open(name.replace("%t", str(n)), "a") for name in (out, err)]
    running.append(subprocess.Popen(
        command, env={{**os.environ, **own}}, stdout=streams[0], stderr=streams[1]
    ))
sys.exit(max(one.wait() for one in running))
"""
SACCT = """#!{python}
print("JobID|State|NodeList")
for n in range(2):
    print(f"900_{{n}}|RUNNING|localhost")
"""


def sweep(folder: Path, *overrides: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, TRAIN, "-m", *JOBS, *overrides, "hydra.sweep.dir=sweep"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(folder: Path) -> list[dict]:
    return [json.loads((folder / f"sweep/{n}/results.json").read_text()) for n in (0, 1)]


@pytest.mark.slow
def test_joblib_runs_jobs_of_one_process_and_goes_on_where_it_stopped(tmp_path: Path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    how = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.devices=1"]
    sweep(tmp_path, *how, "seed=1,2")
    first, second = results(tmp_path)
    assert first != second
    # as if the second had been interrupted while it was tested
    (tmp_path / "sweep/1/score.json").unlink()
    (tmp_path / "sweep/1/results.json").unlink()
    said = sweep(tmp_path, *how, "seed=1,2")
    assert said.count("finished before") == said.count("goes on") == 1
    assert results(tmp_path) == [first, second]


@pytest.mark.slow
def test_slurm_gets_one_task_a_device_and_each_job_is_one_run(tmp_path: Path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (commands / name).write_text(text.format(python=sys.executable))
        (commands / name).chmod(0o755)
    how = ["sweep=slurm", "trainer.devices=2", "trainer.precision=32-true", "seed=1,2"]
    sweep(tmp_path, *how, PATH=f"{commands}{os.pathsep}{os.environ['PATH']}")
    script = (commands / "script.sh").read_text()
    assert "--ntasks-per-node=2" in script
    assert "--gpus-per-node=2" in script
    first, second = results(tmp_path)
    assert first != second
    logs = sorted((tmp_path / "sweep/.submitit").glob("900_0/900_0_*_log.out"))
    assert "8 on each of 2 processes" in logs[0].read_text()
    stored = torch.load(tmp_path / "sweep/0/checkpoints/last.ckpt", weights_only=True)
    assert len(stored["random_state"]) == 2  # of two ranks
