"""Resuming goes on with the data that the run began with, or says what differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from captionlab.inference.checkpoints import read_checkpoint
from commands_support import csv_data, run_train

SMALL = ["model.encoder.image_size=32", "model.decoder.hidden=16", "test=false", "samples=0"]


@pytest.fixture
def begun(tmp_path: Path) -> list[str]:
    """Return the overrides of a run of one epoch, which lies in ``tmp_path/run``."""
    overrides = [*csv_data(tmp_path, 12), *SMALL]
    run_train(tmp_path, *overrides, "hydra.run.dir=run")
    return [o for o in overrides if "max_epochs" not in o] + [
        "trainer.max_epochs=2",
        f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}",
    ]


def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *overrides, "hydra.run.dir=more")
    assert ended.value.code == 2
    assert not (tmp_path / "more").exists()
    return capsys.readouterr().err


def rewrite(tmp_path: Path, old: str, new: str) -> None:
    table = tmp_path / "data" / "captions.csv"
    table.write_text(table.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("0.png,a dog", "0.png,a cat", "train has other names, captions, or another order"),
        (",val\n", ",train\n", "val is gone"),
        ("11.png,", "11.png,a dog again,val\n11.png,", None),
        ("1.png,a dog", "1.png,a word more dog", "train has other"),
    ],
)
def test_changed_data_are_told(begun, tmp_path, capsys, old, new, what):
    rewrite(tmp_path, old, new)
    message = refusal(tmp_path, capsys, begun)
    assert what is None or what in message or "val" in message
    assert len(message.strip().splitlines()) == 1


def test_other_data_are_told_with_both_ways_to_go_on(begun, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    csv_data(tmp_path / "other", 20)
    moved = [
        o if not o.startswith("data.root=") else f"data.root={tmp_path}/other/data" for o in begun
    ]
    message = refusal(tmp_path, capsys, moved)
    for part in (
        "8 images became 16",
        str(tmp_path / "data"),
        "init_from=",
        "allow_other_data=true",
    ):
        assert part in message
    run_train(tmp_path, *moved, "allow_other_data=true", "hydra.run.dir=more")
    stored = torch.load(tmp_path / "more/checkpoints/last.ckpt", weights_only=True)
    assert stored["epoch"] == 1
    assert (
        read_checkpoint(tmp_path / "more/checkpoints/last.ckpt").data["splits"]["train"]["images"]
        == 16
    )


def test_the_same_data_elsewhere_are_the_same(begun, tmp_path):
    shutil.move(tmp_path / "data", tmp_path / "moved")
    moved = [o if not o.startswith("data.root=") else f"data.root={tmp_path}/moved" for o in begun]
    run_train(tmp_path, *moved, "hydra.run.dir=more")
    assert (tmp_path / "more/checkpoints/last.ckpt").exists()


def test_an_older_checkpoint_is_compared_by_where_its_data_were(begun, tmp_path, capsys):
    last = tmp_path / "run/checkpoints/last.ckpt"
    stored = torch.load(last, weights_only=True)
    del stored["captionlab"]["data"]
    torch.save(stored, last)
    run_train(tmp_path, *begun, "hydra.run.dir=same")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    moved = [o if not o.startswith("data.root=") else f"data.root={tmp_path}/copy" for o in begun]
    assert "read elsewhere" in refusal(tmp_path, capsys, moved)
