"""Runs that learn from preferences between sampled captions."""

import csv
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from commands_support import SMALL, run_train

PREFERENCE = [
    *SMALL,
    "objective=preference",
    "objective.check_steps=0",
    "objective.pairs=all",
    "model.encoder.channels=[8,12]",
    "optimizer.lr=1e-3",
    "test=false",
]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    short = ["trainer.max_epochs=1", "test=false", "hydra.run.dir=run"]
    run_train(folder, *SMALL, "model.encoder.channels=[8,12]", *short)
    return f"init_from={folder / 'run/checkpoints/best.ckpt'}"


def state(run: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    reference = stored["objective._extra_state"].pop("reference")
    weights = {k: v for k, v in stored.items() if isinstance(v, torch.Tensor)}
    return weights | {f"reference {name}": value for name, value in reference.items()}


def test_a_run_that_stops_goes_on_with_its_reference_to_the_bit(start: str, tmp_path: Path):
    run_train(tmp_path, *PREFERENCE, start, "hydra.run.dir=whole")
    stop = "+callbacks.stop={_target_: commands_support.StopAt, batches: 11}"
    with pytest.raises(SystemExit):
        run_train(tmp_path, *PREFERENCE, start, stop, "hydra.run.dir=part")
    last = f"ckpt={tmp_path / 'part/checkpoints/last.ckpt'}"
    run_train(tmp_path, *PREFERENCE, last, "hydra.run.dir=rest")
    expected, found = state(tmp_path / "whole"), state(tmp_path / "rest")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    weight = next(name for name in expected if name.endswith("decoder.words.weight"))
    own = expected[f"reference {weight.removeprefix('captioner.')}"]
    assert not torch.equal(expected[weight], own)
    with (tmp_path / "whole/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["train/preference/pairs"]) > 0
    for name in ("best", "last"):
        captioner = load_captioner(tmp_path / f"rest/checkpoints/{name}.ckpt")
        assert captioner(torch.zeros(3, 32, 32, dtype=torch.uint8))


def test_random_weights_are_refused(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *PREFERENCE, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "objective=preference makes good captions likelier" in capsys.readouterr().err
