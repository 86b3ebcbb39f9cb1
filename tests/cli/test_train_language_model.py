"""A run with a language model from a folder, and its checkpoint without that folder."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.inference.checkpoints import read_checkpoint
from commands_support import SMALL, run_train
from tests_support import save_gpt2

pytest.importorskip("transformers")
TINY = [
    *(o for o in SMALL if not o.startswith(("model.decoder", "data.tokenizer", "trainer.max_ep"))),
    "model=gpt2",
    "model/encoder=small_cnn",
    "model.decoder.name=gpt2",
    "model.decoder.heads=2",
    "model.decoder.trainable=1",
    "data.source.train_size=64",
    "data.batch_size=16",
    "decoding=greedy",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_gpt2(folder / "gpt2", ["a red circle left of a blue square on a dark background"])
    run_train(folder, *TINY, "trainer.max_epochs=1", "hydra.run.dir=run")
    shutil.rmtree(folder / "gpt2")
    return folder


def test_it_writes_in_its_own_pieces(run: Path):
    stored = read_checkpoint(run / "run/checkpoints/best.ckpt")
    assert stored.tokenizer.kind == "pretrained"
    assert stored.config["model"]["decoder"]["architecture"]["n_layer"] == 3
    captions = json.loads((run / "run/captions.json").read_text())
    assert captions[0]["caption"]


def test_its_checkpoint_needs_no_folder(run: Path):
    model = load_captioner(run / "run/checkpoints/best.ckpt")
    assert isinstance(model(torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)), str)


def test_it_goes_on_without_the_folder(run: Path):
    last = "ckpt=run/checkpoints/last.ckpt"
    run_train(run, *TINY, "trainer.max_epochs=2", last, "hydra.run.dir=again")
    assert read_checkpoint(run / "again/checkpoints/last.ckpt").epochs == 2
