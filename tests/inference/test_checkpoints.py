from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import portable, read_checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.text.tokenizers import WordTokenizer
from tests_support import tiny_captioner, tiny_config

CAPTIONS = ["a red circle left of a blue square on green"] * 6


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tokenizer = WordTokenizer.fit(CAPTIONS, threshold=1)
    captioner = tiny_captioner(vocabulary=len(tokenizer), pad_id=tokenizer.pad_id)
    state = {f"captioner.{name}": tensor for name, tensor in captioner.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save(
        {"state_dict": state, "epoch": 3, "captionlab": portable(tiny_config(), tokenizer)}, path
    )
    return path


def change(path: Path, **entries) -> None:
    stored = torch.load(path, weights_only=True)
    for key, value in entries.items():
        stored["captionlab"][key] = value
    torch.save(stored, path)


def test_a_captioner_comes_back_with_its_weights(saved: Path):
    checkpoint = read_checkpoint(saved)
    captioner = captioner_of(checkpoint)
    assert not captioner.training
    for name, tensor in captioner.state_dict().items():
        assert torch.equal(tensor, checkpoint.weights[name])
    assert checkpoint.tokenizer.encode("a red circle") == WordTokenizer.fit(
        CAPTIONS, threshold=1
    ).encode("a red circle")


def test_a_class_outside_the_trusted_packages_is_refused(saved: Path):
    config = tiny_config()
    config["model"]["encoder"] = {"_target_": "os.system", "command": "true"}
    change(saved, config=config)
    with pytest.raises(UserError, match=r"os\.system.*trusted"):
        captioner_of(read_checkpoint(saved))


def test_weights_that_do_not_fit_are_named(saved: Path):
    config = tiny_config()
    config["model"]["decoder"]["hidden"] = 24
    change(saved, config=config)
    with pytest.raises(UserError, match="shape"):
        captioner_of(read_checkpoint(saved))


def test_a_newer_format_is_refused(saved: Path):
    change(saved, format=99)
    with pytest.raises(UserError, match="format 99"):
        read_checkpoint(saved)


def test_a_file_with_code_in_it_is_refused(tmp_path: Path):
    torch.save({"state_dict": {}, "callback": Path}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="another project"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_folder_instead_of_a_file_gets_a_hint(saved: Path):
    with pytest.raises(UserError, match=r"best\.ckpt"):
        read_checkpoint(saved.parent)


def test_an_override_behind_with_is_told_its_place():
    with pytest.raises(UserError, match=r"no checkpoint split=test; overrides go before --with"):
        read_checkpoint("split=test")
