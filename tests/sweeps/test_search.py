"""A search: Optuna's choices become runs, poor ones end early, an interrupted one goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from captionlab.core.errors import UserError
from captionlab.sweeps import processes
from captionlab.sweeps.jobs import read_finished
from captionlab.sweeps.search import OptunaSearch
from captionlab.sweeps.space import Range
from commands_support import SMALL, run_train

optuna = pytest.importorskip("optuna")

# stands in for train.py: the nearer x is to 3, the better, and the worse the longer it takes
JOB = """
import json, os, pathlib, sys, time
values = dict(one.split("=", 1) for one in sys.argv[1:])
folder = pathlib.Path(values["hydra.run.dir"])
folder.mkdir(parents=True, exist_ok=True)
score = -abs(float(values["x"]) - 3)
rows = ["epoch,step,val/cider"]
for epoch in range(4):
    rows.append(f"{epoch},{epoch},{score + epoch / 100}")
    # renamed into place, as a run's table is: the search reads it at any moment
    (folder / "metrics.tmp").write_text("\\n".join(rows))
    os.replace(folder / "metrics.tmp", folder / "metrics.csv")
    if score < -2 and int(folder.name) > 1:  # the first two are never ended early
        time.sleep(float(values["patience"]))
(folder / "overrides.yaml").write_text(json.dumps(sys.argv[1:-1]))
(folder / "results.json").write_text("{}")
pathlib.Path(values["job.score_file"]).write_text(json.dumps({"score": score + 0.03}))
"""
SETTINGS = {
    "space": {"x": {"low": 0.0, "high": 10.0}},
    "trials": 12,
    "at_a_time": 2,
    "seed": 1,
    "storage": None,
    "prune": False,
    "prune_after_trials": 2,
    "prune_after_epochs": 1,
}


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = tmp_path / "train.py"
    script.write_text(JOB)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)

    def compose(number: int, overrides: list[str]):
        where = {"sweep": {"dir": str(tmp_path / "sweep"), "subdir": str(number)}}
        callbacks = {"best": {"monitor": "val/cider"}}
        return OmegaConf.create({"hydra": where, "trainer": {"devices": 1}, "callbacks": callbacks})

    def make(patience: float = 0.0, **changed) -> OptunaSearch:
        shared = [f"patience={patience}"]
        return OptunaSearch(**{**SETTINGS, **changed}, shared=shared, compose=compose)

    return make


def test_the_best_is_found_and_the_search_goes_on_where_it_stopped(search, tmp_path, capsys):
    first = search(trials=4)
    first.run()
    before = [t.params for t in first.study.trials]
    assert len(before) == 4
    again = search(trials=12)
    again.run()
    trials = again.study.trials
    assert len(trials) == 12
    assert [t.params for t in trials[:4]] == before
    assert len({t.params["x"] for t in trials}) == 12
    assert again.study.best_value > -1.0
    search(trials=12).run()  # nothing is left to do
    assert len(again.study.trials) == 12
    for trial in trials:
        overrides = (tmp_path / f"sweep/{trial.number}/overrides.yaml").read_text()
        assert f"x={trial.params['x']:.6g}" in overrides
    shown = capsys.readouterr().out
    assert "12 of 12 trials are finished" in shown
    assert "4 of 12 trials are finished" in shown
    assert f"x={again.study.best_params['x']:.6g}" in shown.split("best ")[-1]


def test_a_trial_that_was_under_way_goes_on_in_its_folder(search, tmp_path):
    begun = search(trials=2)
    trial = begun.study.ask()
    trial.suggest_float("x", 0.0, 10.0)  # and then the machine was lost
    search(trials=2).run()
    study = search(trials=2).study
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE"]
    assert study.trials[0].params["x"] == trial.params["x"]
    assert (tmp_path / "sweep/0/results.json").exists()


def test_poor_trials_end_early(search, tmp_path, capsys):
    found = search(patience=2.0, prune=True, trials=10, at_a_time=1)
    found.run()
    pruned = [t for t in found.study.trials if t.state.name == "PRUNED"]
    assert pruned
    assert all(abs(t.params["x"] - 3) > 2 for t in pruned)
    assert all(read_finished(tmp_path / f"sweep/{t.number}") is None for t in pruned)
    assert capsys.readouterr().out.count("below the median") == len(pruned)


def test_what_cannot_be_searched_is_said(search):
    with pytest.raises(UserError, match=r"hydra\.sweeper\.space is empty"):
        search(space={})
    with pytest.raises(UserError, match=r"hydra\.sweeper\.trials=0"):
        search(trials=0)
    with pytest.raises(UserError, match="leave one out"):
        search(space={"patience": [0, 1]})
    for value, part in (
        (3, "neither a list"),
        ({"low": 1}, "neither a list"),
        ({"low": 1, "high": 2, "loog": True}, "did you mean 'log'"),
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "a low above 0"),
    ):
        with pytest.raises(UserError, match=part):
            Range.read("x", value)


def test_a_search_without_many_runs_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        run_train(tmp_path, *SMALL, "sweep=optuna", "hydra.run.dir=run")
    assert left.value.code == 2
    assert (
        "sweep=optuna chooses settings of many runs: say python train.py -m"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
