"""A run with everything that learns beside the words: latent, tags, word vectors, a moving average."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.objectives.base import Objective
from captionlab.objectives.likelihood.variational import Variational
from commands_support import SMALL, run_train


class Counting(Objective):
    """The variational objective with a memory: how many steps it has seen."""

    name = "counting"
    steps: Tensor

    def __init__(self, *, anneal_epochs: float, free_bits: float) -> None:
        super().__init__()
        self.inner = Variational(anneal_epochs=anneal_epochs, free_bits=free_bits)
        self.register_buffer("steps", torch.tensor(0))

    def on_train_batch_start(self, epoch: float) -> None:
        self.inner.on_train_batch_start(epoch)

    def forward(self, captioner, batch):
        self.steps += 1
        return self.inner(captioner, batch)


SMALL_LATENT = [
    *(o for o in SMALL if ("max_epochs" not in o and "size=" not in o) or "image_size" in o),
    "data.source.train_size=64",
    "data.source.val_size=8",
    "data.source.test_size=8",
    "model=cvae",
    "model/encoder=small_cnn",
    "model/tags=default",
    "data.batch_size=16",
    "objective=variational",
    "objective._target_=test_train_latent.Counting",
    "model.decoder.latent=4",
    "decoding=greedy",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latent")
    rows = [f"{word} {' '.join(['0.25'] * 32)}" for word in ("red", "circle", "square")]
    (folder / "glove.txt").write_text("\n".join(rows))
    vectors = "model.decoder.embeddings=glove.txt"
    run_train(folder, *SMALL_LATENT, vectors, "trainer.max_epochs=1", "hydra.run.dir=run")
    return folder


def test_scores_of_latent_and_tags_are_logged(run: Path):
    with (run / "run" / "metrics.csv").open() as file:
        row = next(csv.DictReader(file))
    assert 0 < float(row["val/tags_map"]) <= 1
    results = json.loads((run / "run" / "results.json").read_text())
    assert 0 < results["test/tags_map"] <= 1
    for name in ("nll", "kl", "active_units", "tags"):
        assert float(row[f"train/counting/{name}"]) >= 0


def test_the_checkpoint_loads_without_the_word_vectors(run: Path):
    checkpoint = read_checkpoint(run / "run" / "checkpoints" / "last.ckpt")
    checkpoint.config["model"]["decoder"]["embeddings"] = "nowhere.txt"
    captioner = captioner_of(checkpoint)
    assert len(captioner.tags.tags) > 5
    assert json.dumps(checkpoint.config)


def test_a_resumed_run_goes_on_with_the_objectives_buffers(run: Path):
    last = run / "run" / "checkpoints" / "last.ckpt"
    before = torch.load(last, weights_only=True)["state_dict"]["objective.steps"]
    run_train(run, *SMALL_LATENT, f"ckpt={last}", "trainer.max_epochs=2", "hydra.run.dir=resumed")
    resumed = run / "resumed" / "checkpoints" / "last.ckpt"
    after = torch.load(resumed, weights_only=True)["state_dict"]["objective.steps"]
    assert (before, after) == (4, 8)


def test_every_trained_parameter_has_a_group(run: Path):
    stored = torch.load(run / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    grouped = sum(len(g["params"]) for g in stored["optimizer_states"][0]["param_groups"])
    captioner = captioner_of(read_checkpoint(run / "run" / "checkpoints" / "last.ckpt"))
    assert grouped == len(list(captioner.parameters()))
