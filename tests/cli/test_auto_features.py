"""A run of a frozen encoder stores what it sees by itself, and its numbers are those of images."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captionlab import load_captioner
from captionlab.build import Sizes, build_captioner, build_data
from captionlab.cli import auto_features as module
from captionlab.cli.auto_features import is_frozen, may_store
from captionlab.cli.evaluate import evaluate
from captionlab.core.errors import UserError
from captionlab.training.loggers.table import read_table
from commands_support import run_train
from tests_support import HANG, tiny_config

SETTINGS = [
    "data=csv",
    "data.root=data",
    "data.tokenizer.threshold=1",
    "data.batch_size=4",
    "data.num_workers=0",
    "model=attn_lstm",
    "model/encoder=small_cnn",
    "model.encoder.weights=encoder.pt",
    "model.encoder.trainable=none",
    "model.encoder.image_size=32",
    "model.decoder.hidden=16",
    "model.decoder.embedding=16",
    "decoding=greedy",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "meteor=false",
    "samples=0",
]
TRAIN = str(Path(__file__).parents[2] / "train.py")
PATHS = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])


@pytest.fixture
def work(tmp_path: Path, monkeypatch) -> Path:
    """A folder with 16 photographs, an encoder's weights and a cache of its own."""
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    lines = ["image,caption,split"]
    for i in range(16):
        pixels = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((60, 40)).save(tmp_path / "data" / f"{i}.jpg")
        split = "train" if i < 10 else "val" if i < 13 else "test"
        lines.append(
            f"{i}.jpg,a {'dog' if i % 2 else 'cat'} runs {'fast' if i % 3 else 'slowly'},{split}"
        )
    (tmp_path / "data" / "captions.csv").write_text("\n".join(lines))
    torch.manual_seed(0)
    captioner = build_captioner(tiny_config()["model"], Sizes(11, 0))
    torch.save(captioner.encoder.state_dict(), tmp_path / "encoder.pt")
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(work: Path, name: str, *overrides: str) -> str:
    """Train into a folder and return its log."""
    run_train(work, *SETTINGS, *overrides, f"hydra.run.dir={name}")
    return (work / name / "train.log").read_text()


def store_of(work: Path) -> Path:
    (store,) = (path for path in (work / "cache" / "features").iterdir() if path.name != "locks")
    return store


def numbers(folder: Path) -> tuple[list[float], list[object]]:
    """Return the losses and scores of a run's epochs and test, and its captions."""
    rows = read_table(folder / "metrics.csv").values()
    results = json.loads((folder / "results.json").read_text())
    values = [float(v) for row in rows for name, v in row.items() if name != "train/seconds"]
    values += [value for value in results.values() if isinstance(value, float)]
    return values, json.loads((folder / "captions.json").read_text())


def test_numbers_are_those_of_a_run_from_images(work: Path):
    assert "features   13 images of train and val stored" in run(work, "auto")
    assert "features" not in run(work, "images", "data.features=null")
    stored, expected = numbers(work / "auto"), numbers(work / "images")
    assert stored[0] == pytest.approx(expected[0], rel=1e-5)
    assert stored[1] == expected[1]
    read = run(work, "again")
    assert "features   13 images of train and val read" in read
    assert "features   3 images of test read" in read
    assert numbers(work / "again") == stored


def test_its_gallery_shows_pictures_and_where_it_looked(work: Path):
    run(work, "auto", "callbacks.gallery.images=3")
    page = (work / "auto" / "gallery.html").read_text()
    captions = json.loads((work / "auto" / "captions.json").read_text())
    words = sum(len(entry["caption"].split()) for entry in captions)
    assert len(re.findall(r"<li><span><img ", page)) == words > 0
    assert "not shown" not in page
    assert "image file is not there" not in page
    assert f"seen through {store_of(work)}" in page


def test_its_checkpoint_is_for_photographs_and_evaluated_from_either(work: Path, monkeypatch):
    run(work, "auto")
    best = work / "auto" / "checkpoints" / "best.ckpt"
    captions = json.loads((work / "auto" / "captions.json").read_text())
    photograph = work / "data" / captions[0]["image_id"]
    assert load_captioner(best)(photograph) == captions[0]["caption"]
    shown: list[int] = []
    encoder = build_captioner(tiny_config(*SETTINGS[5:10])["model"], Sizes(11, 0)).encoder
    forward = type(encoder).forward
    monkeypatch.setattr(
        type(encoder), "forward", lambda self, x: shown.append(len(x)) or forward(self, x)
    )
    stored = evaluate(str(best), ["split=val"])
    assert shown == []
    images = evaluate(str(best), ["split=val", "data.features=null"])
    assert sum(shown) == 3
    assert stored == pytest.approx(images, rel=1e-5)
    explicit = evaluate(str(best), ["split=val", f"data.features={store_of(work)}"])
    assert explicit == stored
    pages = [(f / "gallery.html").read_text() for f in (work / "auto").glob("csv-val*")]
    assert len(pages) == 3
    assert len({len(re.findall(r"<li><span><img ", page)) for page in pages} - {0}) == 1


def test_what_was_evicted_is_filled_again_when_a_run_goes_on(work: Path):
    run(work, "whole")
    run(work, "run", "trainer.max_epochs=1", "test=false", "scheduler=constant")
    run(work, "expected", "scheduler=constant")
    shutil.rmtree(store_of(work))
    resumed = run(work, "run", "ckpt=run/checkpoints/last.ckpt", "scheduler=constant")
    assert resumed.count("features   13 images of train and val stored") == 1
    weights = [
        torch.load(work / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("run", "expected")
    ]
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.encoder.trainable=all"],
        ["data/augment=standard"],
        ["data.blank_images=true"],
        ["data.cache_images=true"],
        ["data.features=null"],
        ["trainer.limit_train_batches=1", "trainer.limit_val_batches=1"],
        ["trainer.max_steps=2", "trainer.limit_val_batches=2"],
    ],
    ids=["learns", "augmented", "blank", "cached", "off", "a part", "few steps"],
)
def test_where_it_does_not_pay_nothing_is_stored(work: Path, overrides: list[str]):
    if "trainer.max_steps=2" in overrides:
        overrides = [*overrides, "data.batch_size=3"]
    assert "features" not in run(work, "run", *overrides, "test=false", "trainer.max_epochs=1")
    features = work / "cache" / "features"
    assert not features.exists() or [path.name for path in features.iterdir()] == ["locks"]


def test_the_built_in_data_are_drawn_as_ever(work: Path):
    sizes = [f"data.source.{name}_size=8" for name in ("train", "val", "test")]
    frozen = [setting for setting in SETTINGS if not setting.startswith(("data=", "data.root"))]
    run_train(work, *frozen, *sizes, "hydra.run.dir=run")
    assert "features" not in (work / "run" / "train.log").read_text()
    assert not [p for p in (work / "cache").rglob("*") if p.suffix == ".npy"]


def test_a_cache_that_cannot_be_written_is_said_and_training_goes_on(work: Path, monkeypatch):
    (work / "file").touch()
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(work / "file"))
    log = run(work, "run")
    assert log.count("not stored, each epoch reads the images") == 1
    assert str(work / "file") in log
    assert "CAPTIONLAB_CACHE names another folder" in log
    assert (work / "run" / "results.json").exists()


def test_what_is_too_large_is_said_and_training_goes_on(work: Path):
    log = run(work, "run", "data.features_cache_gib=5e-5", "test=false")
    assert "more than data.features_cache_gib=5e-05 leaves in" in log
    with pytest.raises(UserError, match=r"data\.features_cache_gib=0 must be above 0; data\.feat"):
        build_data(tiny_config("data.features_cache_gib=0")["data"])


def test_an_encoder_that_varies_in_training_is_not_frozen():
    encoder = build_captioner(tiny_config("model.encoder.trainable=none")["model"], Sizes(9, 0))
    assert is_frozen(encoder.encoder)
    noisy = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).requires_grad_(False)
    noisy[1].eval()
    assert not is_frozen(noisy)
    assert [part.training for part in noisy.modules()] == [True, True, False]
    assert not is_frozen(torch.nn.Identity())
    assert not may_store(build_data(tiny_config("data.features=null")["data"]))


def test_other_code_or_other_images_make_another_store(work: Path, monkeypatch):
    run(work, "one", "test=false")
    monkeypatch.setattr(module.captionlab, "__version__", "another")
    assert "stored in" in run(work, "two", "test=false")
    shutil.move(work / "data", work / "moved")
    assert "stored in" in run(work, "three", "test=false", "data.root=moved")
    assert len(list((work / "cache" / "features").glob("csv-*"))) == 3


STOP = """
import os, signal
from captionlab.data.features import growing
write, wrote = growing.write_shard, []
def stopping(*arguments):
    if wrote:
        os.kill(os.getpid(), signal.SIGKILL)
    wrote.append(write(*arguments))
growing.write_shard, growing.SMALLEST_SHARD = stopping, 4
"""


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_stored_leaves_what_it_had(work: Path):
    (work / "sitecustomize.py").write_text(STOP)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(work), PATHS])}
    command = [sys.executable, TRAIN, *SETTINGS, "hydra.run.dir=killed"]
    killed = subprocess.run(command, cwd=work, env=environment, check=False, timeout=HANG)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store_of(work).glob("shard-*.json"))) == 1
    shard = (store_of(work) / "slots-00000.npy").stat()
    assert "features   13 images of train and val stored" in run(work, "again")
    assert (store_of(work) / "slots-00000.npy").stat().st_mtime_ns == shard.st_mtime_ns
    run(work, "images", "data.features=null")
    assert numbers(work / "again")[1] == numbers(work / "images")[1]


@pytest.mark.slow
def test_two_ranks_share_what_one_of_them_stores(work: Path):
    two = [s for s in SETTINGS if "accelerator" not in s] + ["trainer=ddp_cpu"]
    for name, features in (("auto", "auto"), ("images", "null")):
        command = [
            sys.executable,
            TRAIN,
            *two,
            f"data.features={features}",
            f"hydra.run.dir={name}",
        ]
        environment = {**os.environ, "PYTHONPATH": PATHS}
        subprocess.run(command, cwd=work, env=environment, check=True, timeout=HANG)
    stored, expected = numbers(work / "auto"), numbers(work / "images")
    assert stored[0] == pytest.approx(expected[0], rel=1e-5)
    assert stored[1] == expected[1]
    images = [json.loads(p.read_text())["ids"] for p in store_of(work).glob("shard-*.json")]
    assert sorted(map(len, images)) == [3, 13]
