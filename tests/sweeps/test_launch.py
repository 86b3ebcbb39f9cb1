"""Jobs of a sweep as processes: devices dealt out, failures told, finished jobs kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from captionlab.core.errors import UserError
from captionlab.sweeps import devices, processes
from captionlab.sweeps.jobs import FinishedJob, Job, read_finished
from captionlab.sweeps.launch import launch
from commands_support import SMALL, run_train
from tests_support import HANG

TRAIN = str(Path(__file__).parents[2] / "train.py")
# stands in for train.py: says when it ran and where, fails where it is told to
JOB = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[-1].partition("=")[2])
folder.mkdir(parents=True, exist_ok=True)
job = [a for a in sys.argv[1:] if a.startswith("job.")]
arguments = [a for a in sys.argv[1:] if a not in job]
said = {"began": time.time(), "arguments": arguments, "job": job}
said["gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES")
if "meet=1" in sys.argv:  # wait for another job that runs at the same time
    (folder.parent / f"here-{folder.name}").touch()
    while len(list(folder.parent.glob("here-*"))) < 2:
        time.sleep(0.02)
if "fail=1" in sys.argv:
    sys.exit("error: this cannot work")
(folder / "overrides.yaml").write_text(json.dumps(sys.argv[1:-1]))
(folder / "results.json").write_text("{}")
(folder / "said.json").write_text(json.dumps({**said, "ended": time.time()}))
(folder / "score.json").write_text(json.dumps({"score": len(arguments) + 1}))
"""


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "train.py"
    script.write_text(JOB)
    monkeypatch.setattr(sys, "argv", [str(script)])

    def start(*jobs: list[str], at_a_time: int | None = None, devices: int | str = 1):
        def composed(number: int):
            where = {"sweep": {"dir": str(tmp_path / "sweep"), "subdir": str(number)}}
            return OmegaConf.create({"hydra": where, "trainer": {"devices": devices}})

        return launch([(n, job, composed(n)) for n, job in enumerate(jobs)], at_a_time)

    return start


def said(tmp_path: Path, number: int) -> dict:
    return json.loads((tmp_path / "sweep" / str(number) / "said.json").read_text())


def overlap(one: dict, other: dict) -> bool:
    return one["began"] < other["ended"] and other["began"] < one["ended"]


def test_a_job_that_fails_is_told_and_the_others_finish(sweep, tmp_path, capsys):
    found = sweep(["a=1"], ["a=2", "fail=1"], ["a=3"])
    assert [one.status for one in found] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    assert [found[0].return_value, found[2].return_value] == [3, 3]
    with pytest.raises(SystemExit):
        _ = found[1].return_value
    shown = capsys.readouterr()
    assert "job 2 of 3  a=2 fail=1: failed" in shown.out
    assert "status 1: error: this cannot work" in shown.out
    assert "2 of 3 jobs are finished; captionlab compare" in shown.out
    assert str(tmp_path / "sweep" / "1.log") in shown.err
    assert not overlap(said(tmp_path, 0), said(tmp_path, 2))


def test_what_a_job_says_is_read_whatever_the_terminals_encoding(
    sweep, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PYTHONIOENCODING", "gbk")
    script = tmp_path / "train.py"
    script.write_text("import sys\nprint('\xff')\nsys.exit('error: no folder 狗')\n", "utf-8")
    sweep(["a=1"])
    assert "status 1: error: no folder 狗" in capsys.readouterr().out


def test_gpus_are_dealt_to_jobs_and_none_to_two_at_once(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["4", "5", "6", "7", "8"])
    sweep(*([f"a={n}", "meet=1"] for n in range(5)), devices=2)
    runs = [said(tmp_path, n) for n in range(5)]
    assert {run["gpus"] for run in runs} == {"4,5", "6,7"}
    for i, one in enumerate(runs):
        for other in runs[:i]:
            assert one["gpus"] != other["gpus"] or not overlap(one, other)
    assert any(overlap(one, other) for i, one in enumerate(runs) for other in runs[:i])


def test_a_machine_with_too_few_gpus_is_told_before_any_job(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0"])
    with pytest.raises(UserError, match=r"trainer\.devices=4: this machine has 1 GPU"):
        sweep(["a=1"], devices=4)
    assert not (tmp_path / "sweep").exists()
    with pytest.raises(UserError, match=r"hydra\.launcher\.at_a_time=0"):
        sweep(["a=1"], at_a_time=0)


def test_a_sweep_goes_on_where_it_stopped(sweep, tmp_path, capsys):
    sweep(["a=1"], ["a=2", "init_from=x", "fail=1"])
    first = said(tmp_path, 0)
    # the second one was interrupted after its first checkpoint
    last = tmp_path / "sweep/1/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    found = sweep(["a=1"], ["a=2", "init_from=x"])
    assert said(tmp_path, 0) == first
    assert found[0].return_value == 3
    arguments = said(tmp_path, 1)["arguments"]
    assert f"ckpt={last}" in arguments
    assert "init_from=x" not in arguments
    assert "job 1 of 2  a=1: finished before" in capsys.readouterr().out


def test_title_and_sweep_of_a_job_are_configuration_and_no_settings_of_it(sweep, tmp_path):
    sweep(["a=1", "b=${c}"])
    score = f"job.score_file={tmp_path}/sweep/0/score.json"
    assert said(tmp_path, 0)["job"] == ['job.title="a=1 b={c}"', "job.sweep=sweep", score]
    # as an earlier version left it
    (tmp_path / "sweep/0/overrides.yaml").write_text("[a=1, 'b=${c}']")
    assert sweep(["a=1", "b=${c}"])[0].return_value == 3 + 1


def test_another_sweep_in_the_same_folder_is_refused(sweep, tmp_path):
    sweep(["a=1"])
    with pytest.raises(UserError, match=r"holds a run of a=1, and this job is a=2: choose another"):
        sweep(["a=2"])


@pytest.mark.slow
def test_two_runs_at_a_time_from_the_command_line(tmp_path: Path):
    where = ["hydra/launcher=process", "hydra.launcher.at_a_time=2", "hydra.sweep.dir=sweep"]
    small = [o for o in SMALL if "max_epochs" not in o] + ["trainer.max_epochs=1"]

    def sweep(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, TRAIN, "-m", *where, *small, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=HANG,
        )

    done = sweep("seed=1,2", "trainer.devices=1")
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads((tmp_path / f"sweep/{n}/results.json").read_text()) for n in (0, 1)]
    assert results[0] != results[1]
    again = sweep("seed=1,2,3", "trainer.devices=1")
    assert again.stdout.count("finished before") == 2, again.stdout
    assert (tmp_path / "sweep/2/results.json").exists()


def test_jobs_that_share_the_sweeps_process_are_kept_too(tmp_path: Path, capsys):
    small = [o for o in SMALL if "max_epochs" not in o] + ["trainer.max_epochs=1", "seed=1,2"]
    run_train(tmp_path, "-m", *small, "hydra.sweep.dir=sweep")
    job = yaml.safe_load((tmp_path / "sweep/1/config.yaml").read_text())["job"]
    assert job["sweep"] == "sweep"
    assert job["title"] == "seed=2"
    scores = [json.loads((tmp_path / f"sweep/{n}/score.json").read_text()) for n in (0, 1)]
    results = [(tmp_path / f"sweep/{n}/results.json").read_text() for n in (0, 1)]
    assert scores[0]["score"] != scores[1]["score"]
    (tmp_path / "sweep/1/results.json").unlink()  # as if it had been killed while it was tested
    capsys.readouterr()
    run_train(tmp_path, "-m", *small, "hydra.sweep.dir=sweep")
    said = capsys.readouterr().out
    assert said.count("finished before") == 1
    assert "seed=2: goes on" in said
    assert (tmp_path / "sweep/1/results.json").read_text() == results[1]
    assert [json.loads((tmp_path / f"sweep/{n}/score.json").read_text()) for n in (0, 1)] == scores
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, "-m", *small, "optimizer.lr=0.5", "hydra.sweep.dir=sweep")
    assert left.value.code == 2
    assert "choose another hydra.sweep.dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "way_out"),
    [
        (["trainer.devices=2", "trainer.accelerator=cpu"], "hydra/launcher=process"),
        (["trainer=ddp_cpu", "trainer.num_nodes=2"], "hydra/launcher=process"),
        (["hydra/launcher=joblib", "trainer=ddp_cpu"], "hydra/launcher=process"),
        (["hydra/launcher=submitit_slurm", "trainer.devices=4"], "sweep=slurm"),
        (["hydra/launcher=submitit_slurm", "trainer=ddp_cpu"], "sweep=slurm"),
    ],
)
def test_a_wrong_mix_is_refused_before_any_job(how, way_out, tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, "-m", *how, "seed=1,2", "hydra.sweep.dir=sweep")
    assert left.value.code == 2
    assert way_out in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_several_processes_a_job_need_the_launcher_that_can(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, TRAIN, "-m", "trainer.devices=2", "seed=1,2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 2
    assert "hydra/launcher=process" in done.stderr


def test_a_job_that_is_told_to_leave_too_late_is_finished(tmp_path: Path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text(JOB + "time.sleep(30)\n")  # what is left to do is nothing that counts
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)
    job = Job(0, ["a=1"], tmp_path / "0", 1, "a=1")
    outcome = processes.run_job(
        job, devices.DevicePool([[]], None), 1, lambda: (tmp_path / "0/score.json").exists()
    )
    assert (outcome.score, outcome.pruned) == (3, False)


def test_a_job_that_is_not_to_be_tested_is_finished_without_results(tmp_path: Path):
    (tmp_path / "score.json").write_text('{"score": 0.5}')
    assert read_finished(tmp_path) is None
    for test, found in (("true", None), ("false", FinishedJob(0.5))):
        (tmp_path / "config.yaml").write_text(f"test: {test}\n")
        assert read_finished(tmp_path) == found
