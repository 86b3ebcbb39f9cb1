"""A model that learns nothing: one look at the training images, and then all that a run leaves."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.cli.evaluate import evaluate
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import KEY, read_checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.text.prompts import Prompt
from commands_support import SMALL, run_train

NEAREST = [
    *[option for option in SMALL if "hidden" not in option and "embedding" not in option],
    "model=nearest",
    "model/encoder=small_cnn",
    "model.decoder.neighbors=5",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nearest")
    run_train(folder, *NEAREST, "hydra.run.dir=run")
    return folder / "run"


def test_a_run_has_all_that_a_trained_one_has(run: Path):
    results = json.loads((run / "results.json").read_text())
    assert results["test/novel"] == 0.0  # every caption is one of a training image
    assert results["test/cider"] > 0
    assert len(json.loads((run / "captions.json").read_text())) == 8
    assert (run / "gallery.html").exists()
    with (run / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["val/cider"]) > 0
    assert "training   none: this model learns nothing" in (run / "train.log").read_text()
    checkpoint = read_checkpoint(run / "checkpoints/best.ckpt")
    assert checkpoint.scores["cider"] == pytest.approx(float(row["val/cider"]), abs=1e-6)
    images, captions, tokens = checkpoint.config["model"]["decoder"]["index"]
    assert (images, captions) == (128, 640)
    assert tokens == len(checkpoint.weights["decoder.index.tokens"])


def test_its_checkpoint_captions_and_is_scored_as_any_other(run: Path, tmp_path: Path):
    path = str(run / "checkpoints/best.ckpt")
    captioner = load_captioner([path, path])
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    first = captioner(image).split()[0]
    with pytest.raises(UserError, match=f"beginning {first!r}.* as they are"):
        captioner(image, Prompt(beginning=first))
    written = evaluate(path, ["trainer.accelerator=cpu"], out=str(tmp_path / "scores"))
    results = json.loads((run / "results.json").read_text())
    for name in ("cider", "bleu_4", "loss"):
        assert written[f"test/{name}"] == pytest.approx(results[f"test/{name}"], abs=1e-5)


def test_neighbors_are_found_again_after_a_change_of_the_search(run: Path):
    checkpoint = read_checkpoint(run / "checkpoints/best.ckpt")
    captioner = captioner_of(checkpoint)
    features = captioner.decoder.index.features.float()
    found = captioner.decoder.index.nearest(features[:20], 1)
    assert found.images.flatten().tolist() == list(range(20))


@pytest.mark.parametrize("key", ["init_from", "ckpt"])
def test_there_is_nothing_to_go_on_with(run: Path, tmp_path: Path, capsys, key: str):
    path = run / "checkpoints/best.ckpt"
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *NEAREST, f"{key}={path}", "hydra.run.dir=run")
    assert ended.value.code == 2
    assert ("trains nothing" if key == "init_from" else "holds weights alone") in (
        capsys.readouterr().err
    )


def test_varied_images_are_refused(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *NEAREST, "data/augment=standard", "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "say data/augment=none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored, index: index["tokens"].fill_(10**6), "damaged"),
        (lambda stored, index: index["first_token"].fill_(-1), "damaged"),
        (
            lambda stored, index: stored[KEY]["config"]["model"]["decoder"].update(
                index=[2**40, 1, 1]
            ),
            "more than a model can have",
        ),
        (
            lambda stored, index: stored[KEY]["config"]["model"]["decoder"].update(
                index=[10**7, 640, 1]
            ),
            "does not fit",
        ),
    ],
    ids=["tokens", "offsets", "sizes", "images"],
)
def test_a_hostile_index_is_refused(run: Path, tmp_path: Path, change, message: str):
    stored = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    prefix = "captioner.decoder.index."
    weights = stored["state_dict"]
    change(stored, {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)})
    torch.save(stored, tmp_path / "hostile.ckpt")
    with pytest.raises(UserError, match=message):
        load_captioner(tmp_path / "hostile.ckpt")(torch.zeros(3, 32, 32, dtype=torch.uint8))


def test_captions_behind_questions_are_refused(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *NEAREST, "data=shapes_questions", "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "say data.prompts=false" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
