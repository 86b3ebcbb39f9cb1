"""What teachers and a student see of an image: stored features where all see the same, else images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captionlab.build import Sizes, build_captioner, build_data
from captionlab.cli.extract import extract
from captionlab.cli.teachers import give_teachers
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.weights import build_with_weights
from captionlab.objectives.distillation.objective import Distillation
from commands_support import csv_data, run_train
from tests_support import tiny_config

PARTS = [
    "model=attn_lstm",
    "model/encoder=small_cnn",
    "model.encoder.trainable=none",
    "model.encoder.image_size=32",
    "model.encoder.channels=[8,12]",
    "model.decoder.hidden=16",
    "model.decoder.embedding=16",
]
RUN = [
    "decoding=greedy",
    "trainer.accelerator=cpu",
    "samples=0",
    "test=false",
    "data.num_workers=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two teachers, of different encoders, and a store of the first one's features."""
    folder = tmp_path_factory.mktemp("teachers")
    data = csv_data(folder, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLAB_CACHE", str(folder / "cache"))
        for seed in (1, 2):
            torch.manual_seed(seed)
            encoder = build_captioner(tiny_config(*PARTS)["model"], Sizes(11, 0)).encoder
            torch.save(encoder.state_dict(), folder / f"encoder{seed}.pt")
            weights = f"model.encoder.weights={folder / f'encoder{seed}.pt'}"
            run_train(folder, *data, *PARTS, *RUN, weights, f"hydra.run.dir=teacher{seed}")
        settings = [data[0], data[1], *PARTS[:5], "device=cpu", f"out={folder / 'store'}"]
        extract([*settings, f"model.encoder.weights={folder / 'encoder1.pt'}"])
    return folder


def teacher(folder: Path, seed: int) -> str:
    return str(folder / f"teacher{seed}/checkpoints/best.ckpt")


def may_store(folder: Path, *seeds: int, options: tuple[str, ...] = ()) -> bool:
    """Whether a student with the first teacher's encoder may store what it sees."""
    root = ["data=csv", f"data.root={folder / 'data'}", "data.tokenizer.threshold=1"]
    config = tiny_config(*root, *PARTS, *options)
    data = build_data(config["data"])
    checkpoint = read_checkpoint(teacher(folder, 1))
    student = build_with_weights(config["model"], Sizes.of(data.tokenizer), checkpoint)
    objective = Distillation(teacher=[teacher(folder, seed) for seed in seeds])
    return give_teachers(objective, config, data, student)


def test_features_are_stored_where_all_see_the_same(folder: Path):
    assert may_store(folder, 1)
    assert may_store(folder, 1, 1)
    assert not may_store(folder, 1, 2)
    assert not may_store(folder, 1, options=("data.features=null",))


def test_a_teacher_of_another_encoder_cannot_read_the_students_store(folder: Path):
    store = (f"data.features={folder / 'store'}",)
    assert not may_store(folder, 1, options=store)
    with pytest.raises(UserError, match=r"teacher2.*cannot teach this run.*features"):
        may_store(folder, 2, options=store)


@pytest.mark.parametrize(("seed", "stored"), [(1, True), (2, False)])
def test_a_run_stores_features_or_reads_images(
    folder: Path, tmp_path: Path, monkeypatch, seed: int, stored: bool
):
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "cache"))
    data = [
        "data=csv",
        f"data.root={folder / 'data'}",
        "data.tokenizer.threshold=1",
        "meteor=false",
    ]
    weights = f"model.encoder.weights={folder / 'encoder1.pt'}"
    own = ["objective=distillation", f"objective.teacher=[{teacher(folder, seed)}]"]
    one = ["trainer.max_epochs=1", "hydra.run.dir=run"]
    run_train(tmp_path, *data, *PARTS, *RUN, weights, *own, *one)
    assert ("features   " in (tmp_path / "run/train.log").read_text()) == stored
