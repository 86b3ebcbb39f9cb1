"""Captions of similar images before each caption: trained, resumed, scored and predicted with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.build import build_data
from captionlab.cli.evaluate import evaluate
from captionlab.core.config_types import Config
from captionlab.core.errors import UserError
from captionlab.data.datamodule import CaptionDataModule
from captionlab.inference.checkpoints import KEY, read_checkpoint
from captionlab.text.prompts import Prompt
from captionlab.text.tokenizers import Tokenizer
from captionlab.training.retrieval import retrieve
from commands_support import SMALL, run_train

RETRIEVAL = [
    *SMALL,
    "model/retrieval=captions",
    "model.retrieval.images=2",
    "model.retrieval.tokens=12",
    "model.encoder.trainable=none",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retrieval")
    run_train(folder, *RETRIEVAL, "trainer.max_epochs=1", "hydra.run.dir=run")
    return folder / "run"


def test_the_checkpoint_holds_the_training_captions_and_what_the_encoder_sees(run: Path):
    checkpoint = read_checkpoint(run / "checkpoints/best.ckpt")
    images, captions, tokens = checkpoint.config["model"]["retrieval"]["index"]
    assert (images, captions) == (128, 640)
    assert len(checkpoint.weights["retrieval.index.tokens"]) == tokens
    lengths = checkpoint.weights["retrieval.index.features"].float().norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(128), atol=1e-3, rtol=0)


def test_it_is_scored_again_as_in_its_test(run: Path, tmp_path: Path):
    path = str(run / "checkpoints/best.ckpt")
    written = evaluate(path, ["trainer.accelerator=cpu"], out=str(tmp_path / "scores"))
    results = json.loads((run / "results.json").read_text())
    for name in ("cider", "bleu_4", "loss"):
        assert written[f"test/{name}"] == pytest.approx(results[f"test/{name}"], abs=1e-5)


def test_what_is_predicted_of_an_image_is_what_was_scored(run: Path):
    captioner = load_captioner(run / "checkpoints/best.ckpt")
    data = data_of(captioner.config, captioner.tokenizer)
    images = torch.stack([captioner.prepare(data.dataset("test").picture(i, 32)) for i in range(8)])
    written = [one["caption"] for one in json.loads((run / "captions.json").read_text())]
    assert captioner.caption(images) == written


def test_a_training_image_is_never_given_its_own_captions(run: Path):
    captioner = load_captioner(run / "checkpoints/best.ckpt")
    data = data_of(captioner.config, captioner.tokenizer)
    retrieve(captioner.captioner, data, ["train"], torch.device("cpu"))
    index = captioner.captioner.retrieval.index
    pooled = index.features.float()
    own = captioner.captioner.retrieval.prompts(pooled)  # as if each were a stranger's
    dataset = data.dataset("train")
    separator = captioner.tokenizer.similar_id
    for number in range(len(dataset)):
        given = dataset[number].prompts[0].tolist()
        first = dataset.encoded(number)[0][1:-1].tolist()
        assert own[number][:-1][: len(first) + 1] == [separator, *first][:11]
        assert given != own[number]


def test_captions_before_stand_before_a_beginning(run: Path):
    captioner = load_captioner(run / "checkpoints/best.ckpt")
    image = torch.full((3, 32, 32), 127, dtype=torch.uint8)
    assert captioner(image, Prompt(beginning="a red")).startswith("a red")


def test_it_goes_on_from_a_checkpoint(run: Path, tmp_path: Path):
    last = run / "checkpoints/last.ckpt"
    run_train(tmp_path, *RETRIEVAL, f"ckpt={last}", "hydra.run.dir=run")
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt").epochs == 2


def test_it_is_trained_self_critically(run: Path, tmp_path: Path):
    options = ["objective=self_critical", f"init_from={run / 'checkpoints/best.ckpt'}"]
    run_train(tmp_path, *RETRIEVAL, *options, "trainer.max_steps=2", "hydra.run.dir=run")
    assert (tmp_path / "run/results.json").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.encoder.trainable=all", "the encoder sees them.*model.encoder.trainable=none"),
        ("data/augment=standard", "data/augment=none"),
        ("model.retrieval.images=0", "images=0 must be at least 1"),
    ],
)
def test_what_it_cannot_do_is_said_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, sentence: str
):
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *RETRIEVAL, override, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert re.search(sentence, " ".join(capsys.readouterr().err.split()))


def test_it_writes_with_no_other_captioner(run: Path):
    path = run / "checkpoints/best.ckpt"
    with pytest.raises(UserError, match=r"captions of similar images.*cannot write together"):
        load_captioner([path, path])


def test_a_damaged_index_is_refused(run: Path, tmp_path: Path):
    stored = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    stored["state_dict"]["captioner.retrieval.index.first_token"][3] = 10**6
    torch.save(stored, tmp_path / "damaged.ckpt")
    assert stored[KEY]["config"]["model"]["retrieval"]["images"] == 2
    captioner = load_captioner(tmp_path / "damaged.ckpt")
    with pytest.raises(UserError, match="index of training captions is damaged"):
        captioner(torch.zeros(3, 32, 32, dtype=torch.uint8))


def data_of(config: Config, tokenizer: Tokenizer) -> CaptionDataModule:
    data = build_data(config["data"])
    data.tokenizer = tokenizer
    return data
