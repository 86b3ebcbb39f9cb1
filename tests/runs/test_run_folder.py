"""A run's folder is its own, however many start at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.runs.run_folder import (
    LOCK,
    claim_run_folder,
    holds_run,
    is_first_process,
    new_folder,
)
from commands_support import SMALL, run_train

RANKS = ("RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")
CLAIM = """
import sys
from pathlib import Path
from captionlab.runs.run_folder import claim_run_folder
with claim_run_folder(Path(sys.argv[1]), is_chosen=False, resumes=None, is_job=False) as folder:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_text(sys.argv[2])
    print(folder.name, flush=True)
    if len(sys.argv) > 3:
        sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*RANKS, "CAPTIONLAB_RUN_FOLDER"):
        monkeypatch.delenv(name, raising=False)


def claim(folder: Path, **how):
    return claim_run_folder(folder, **{"is_chosen": False, "resumes": None, "is_job": False, **how})


def leave_run(folder: Path) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_text("weights")
    return last


def test_fifty_at_once_have_fifty_folders(tmp_path: Path):
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "run")]
    runs = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(50)
    ]
    names = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0] * 50
    assert len(set(names)) == 50
    contents = {path.read_text() for path in tmp_path.glob("*/checkpoints/last.ckpt")}
    assert contents == {str(i) for i in range(50)}
    assert not list(tmp_path.glob(f"*/{LOCK}"))


def test_a_run_at_work_keeps_its_folder_though_it_has_written_nothing(tmp_path: Path):
    code = CLAIM.replace('(folder / "checkpoints").mkdir()', "").replace(
        '(folder / "checkpoints" / "last.ckpt").write_text(sys.argv[2])', ""
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run"), "0", "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline().strip() == "run"
    with claim(tmp_path / "run") as folder:
        assert folder.name == "run-2"
    with (
        pytest.raises(UserError, match="at work"),
        claim(tmp_path / "run", is_chosen=True),
    ):
        pass
    other.communicate()
    with claim(tmp_path / "run", is_chosen=True) as folder:
        assert folder.name == "run"


def test_a_named_folder_that_holds_a_run_is_refused_with_the_way_on(tmp_path: Path):
    last = leave_run(tmp_path / "run")
    with (
        pytest.raises(UserError, match=rf"holds another run.*ckpt={last}"),
        claim(tmp_path / "run", is_chosen=True),
    ):
        pass
    assert last.read_text() == "weights"
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_run_resumes_in_its_own_folder_and_in_no_others(tmp_path: Path):
    last = leave_run(tmp_path / "run")
    with claim(tmp_path / "run", is_chosen=True, resumes=last) as folder:
        assert folder == tmp_path / "run"
    other = leave_run(tmp_path / "other")
    with (
        pytest.raises(UserError, match="lies elsewhere"),
        claim(tmp_path / "run", is_chosen=True, resumes=other),
    ):
        pass


def test_a_job_of_a_sweep_begins_again_where_it_was_cut_off(tmp_path: Path):
    leave_run(tmp_path / "0")
    with claim(tmp_path / "0", is_job=True) as folder:
        assert folder == tmp_path / "0"


def test_an_empty_folder_is_removed_and_one_of_the_users_is_not(tmp_path: Path):
    with claim(tmp_path / "runs" / "day" / "run"):
        pass
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with claim(tmp_path / "mine", is_chosen=True) as folder:
        assert not holds_run(folder)
    assert (tmp_path / "mine" / "notes.txt").exists()


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"SLURM_PROCID": "0", "SLURM_ARRAY_TASK_ID": "7"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_only_the_first_process_of_a_run_claims(monkeypatch, tmp_path, variables, first):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first
    monkeypatch.setenv("CAPTIONLAB_RUN_FOLDER", str(tmp_path / "run-2"))
    used: list[str] = []
    with claim(tmp_path / "run", on_change=used.append) as folder:
        assert folder.name == ("run" if first else "run-2")
    assert used == ([] if first else [str(tmp_path / "run-2")])


def test_new_folders_of_one_name_are_several(tmp_path: Path):
    assert [new_folder(tmp_path / "a").name for _ in range(3)] == ["a", "a-2", "a-3"]


def test_a_finished_runs_folder_is_not_written_again(finished_run: Path, capsys):
    results = (finished_run / "results.json").read_text()
    with pytest.raises(SystemExit) as ended:
        run_train(finished_run.parent, *SMALL, "seed=2", "test=false", "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "run holds another run" in capsys.readouterr().err
    assert (finished_run / "results.json").read_text() == results
    assert "seed=2" not in (finished_run / "overrides.yaml").read_text()


def test_scores_of_fewer_epochs_are_set_aside_when_a_run_goes_on(tmp_path: Path):
    one = [*(o for o in SMALL if "max_epochs" not in o), "trainer.max_epochs=1"]
    run_train(tmp_path, *one, "hydra.run.dir=run")
    before = json.loads((tmp_path / "run" / "results.json").read_text())
    more = ["trainer.max_epochs=2", "test=false", "ckpt=run/checkpoints/last.ckpt"]
    run_train(tmp_path, *one[:-1], *more, "hydra.run.dir=run")
    assert not (tmp_path / "run" / "results.json").exists()
    aside = tmp_path / "run" / "scores-after-epoch-1"
    assert json.loads((aside / "results.json").read_text()) == before
    assert (aside / "captions.json").exists()
