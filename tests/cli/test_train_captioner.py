"""Runs with a whole captioner and with an adapted prefix, and their checkpoints without the folders."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.inference.checkpoints import read_checkpoint
from commands_support import SMALL, run_train
from tests_support import save_gpt2

transformers = pytest.importorskip("transformers")
CAPTIONS = ["a red circle left of a blue square on a dark background"]
TINY = [
    *(o for o in SMALL if not o.startswith(("model.decoder", "data.tokenizer", "trainer.max_ep"))),
    "data.source.train_size=32",
    "data.batch_size=16",
    "decoding=greedy",
    "trainer.max_epochs=1",
]
BLIP = [*TINY, "model=huggingface_captioner", "model.decoder.name=blip"]
PREFIX = [
    *TINY,
    "model=prefix",
    "model/encoder=small_cnn",
    "model.decoder.name=gpt2",
    "model.decoder.mapping_layers=1",
    "model.decoder.mapping_heads=2",
    "model.decoder.lora.rank=2",
]


def save_blip(folder: Path) -> None:
    """Save a small BLIP beside the tokenizer that it writes with."""
    save_gpt2(folder, CAPTIONS)
    words = transformers.AutoConfig.from_pretrained(folder).vocab_size
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    edges = {"bos_token_id": words, "sep_token_id": words - 1, "eos_token_id": words - 1}
    config = transformers.BlipConfig(
        text_config={"hidden_size": 16, "vocab_size": words + 1, **edges, **layers},
        vision_config={"hidden_size": 12, "image_size": 32, "patch_size": 16, **layers},
    )
    torch.manual_seed(0)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs whose captioners' folders are gone."""
    folder = tmp_path_factory.mktemp("runs")
    save_blip(folder / "blip")
    as_it_is = ["trainer.limit_train_batches=1", "optimizer.lr=1e-12"]
    run_train(folder, *BLIP, *as_it_is, "hydra.run.dir=untrained")
    run_train(folder, *BLIP, "hydra.run.dir=whole")
    save_gpt2(folder / "gpt2", CAPTIONS)
    run_train(folder, *PREFIX, "hydra.run.dir=prefix")
    shutil.move(folder / "blip", folder / "moved")
    shutil.rmtree(folder / "gpt2")
    return folder


@pytest.mark.slow
def test_a_step_of_no_length_scores_it_as_it_is(runs: Path):
    weights = read_checkpoint(runs / "untrained/checkpoints/best.ckpt").weights
    whole = transformers.BlipForConditionalGeneration.from_pretrained(runs / "moved")
    own = whole.text_decoder.bert.state_dict()
    for name, tensor in own.items():
        torch.testing.assert_close(weights[f"decoder.body.{name}"], tensor, atol=1e-11, rtol=0)
    assert json.loads((runs / "untrained/results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["untrained", "whole", "prefix"])
def test_its_checkpoint_needs_no_folder(runs: Path, name: str):
    checkpoint = next((runs / name / "checkpoints").glob("*.ckpt"))
    model = load_captioner(checkpoint)
    assert isinstance(model(torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)), str)
    assert json.loads((runs / name / "captions.json").read_text())[0]["caption"] is not None
    stored = read_checkpoint(checkpoint)
    assert stored.tokenizer.kind == "pretrained"
    if name == "prefix":
        assert any("lora_A" in weight for weight in stored.weights)
    else:
        for part in ("encoder", "decoder"):
            assert stored.config["model"][part]["architecture"]["model_type"] == "blip"


@pytest.mark.slow
def test_it_goes_on_with_self_critical_training_without_the_folder(runs: Path):
    start = ["init_from=whole/checkpoints/best.ckpt", "objective=self_critical"]
    run_train(runs, *BLIP, *start, "objective.num_samples=2", "hydra.run.dir=critical")
    scores = json.loads((runs / "critical/results.json").read_text())
    assert scores
