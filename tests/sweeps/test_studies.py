"""The studies of experiments/: every run that they plan can be composed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from captionlab.sweeps.launch import plan, train_all

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
pytestmark = pytest.mark.skipif(not EXPERIMENTS.exists(), reason="not in a source distribution")


def load_study(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("study", EXPERIMENTS / name / "study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "study", module)  # dataclasses look it up
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module


def test_model_families_trains_every_preset_with_every_seed(monkeypatch, tmp_path):
    study = load_study("model-families", monkeypatch)
    runs = study.runs(tmp_path)
    assert len(runs) == len(study.PRESETS) * len(study.SEEDS)
    jobs = plan({folder: runs[folder] for folder in runs if folder.name.endswith("-1")})
    assert [job.title for job in jobs] == [f"{name}-1" for name in study.PRESETS]
    assert f"data.features={tmp_path / 'features'}" in jobs[0].overrides


@pytest.mark.parametrize("real", [None, "photographs"])
def test_objectives_continue_from_the_start_of_their_seed(real, monkeypatch, tmp_path):
    module = load_study("objectives", monkeypatch)
    study = module.Study(tmp_path, tmp_path / real if real else None)
    seeds = len(study.seeds)
    starts, runs = study.starts(), study.continuations()
    assert len(starts) == seeds
    assert len(runs) == (len(module.OBJECTIVES) + 1 - bool(real)) * seeds
    start = tmp_path / "start-1/checkpoints/best.ckpt"
    assert f"init_from={start}" in runs[tmp_path / "scst_greedy-1"]
    first = {folder: runs[folder] for folder in runs if folder.name.endswith("-1")}
    assert len(plan({**starts, **first})) == seeds + len(first)


def test_finished_runs_of_a_study_are_kept(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    train_all({tmp_path: ["no.such=key"]})  # not even composed


def test_scaling_compares_processes_on_cores(monkeypatch, tmp_path):
    study = load_study("scaling", monkeypatch)
    jobs = plan({tmp_path / name: [*study.SIZE, *how] for name, (how, _) in study.RUNS.items()})
    assert [job.num_devices for job in jobs] == [0, 0, 0]
