"""Adapters become part of the weights beside them; an average of weights is what a checkpoint holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import Checkpoint, read_checkpoint
from captionlab.inference.export.plain_checkpoint import write_checkpoint
from captionlab.inference.export.write import ExportSettings, write_export
from captionlab.models.decoders.language_model import lora
from hostile_support import honest
from tests_support import SMALLER

pytest.importorskip("peft")
PRESETS = ["gpt2", "prefix"]
SMALL = ("model/encoder=small_cnn", "model.encoder.channels=[8,12]", "model/tags=none")


def adapted(preset: str, path: Path) -> Checkpoint:
    """Write a checkpoint with adapters that do something, and read it."""
    content = honest(f"model={preset}", *SMALL, *SMALLER[preset], "model.decoder.lora.rank=2")
    ours = [name for name in content["state_dict"] if "lora_B" in name]
    assert ours
    for name in ours:
        content["state_dict"][name] = torch.randn_like(content["state_dict"][name])
    torch.save(content, path)
    return read_checkpoint(path)


def logits(path: Path) -> torch.Tensor:
    captioner = load_captioner(path).captioner
    images = torch.randint(0, 255, (2, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    state = captioner.init_state(captioner.encode(images.to(torch.uint8)), 2)
    first, state = captioner.step(torch.ones(2, 2, dtype=torch.long), state)
    second, _ = captioner.step(torch.full((2, 2), 5), state)
    return torch.stack([first, second]).detach()


def forget_peft() -> None:
    raise UserError("peft is not there")


@pytest.mark.parametrize("preset", PRESETS)
def test_merged_weights_score_as_adapters_do(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = adapted(preset, tmp_path / "best.ckpt")
    before = logits(tmp_path / "best.ckpt")
    write_export(checkpoint, tmp_path / "out", ExportSettings("safetensors"))
    monkeypatch.setattr(lora, "_peft", forget_peft)
    torch.testing.assert_close(logits(tmp_path / "out"), before, rtol=0, atol=1e-5)
    assert not [name for name in read_checkpoint(tmp_path / "out").weights if "lora" in name]


def test_adapters_stay_apart_where_that_is_asked_for(tmp_path: Path):
    checkpoint = adapted("gpt2", tmp_path / "best.ckpt")
    before = logits(tmp_path / "best.ckpt")
    write_export(checkpoint, tmp_path / "out", ExportSettings("safetensors", merge=False))
    assert torch.equal(logits(tmp_path / "out"), before)
    stored = read_checkpoint(tmp_path / "out")
    assert [name for name in stored.weights if "lora_A" in name]
    assert stored.config["model"]["decoder"]["lora"]["rank"] == 2


def test_a_merged_checkpoint_is_a_checkpoint(tmp_path: Path):
    checkpoint = adapted("gpt2", tmp_path / "best.ckpt")
    before = logits(tmp_path / "best.ckpt")
    write_checkpoint(checkpoint, tmp_path / "plain.ckpt")
    torch.testing.assert_close(logits(tmp_path / "plain.ckpt"), before, rtol=0, atol=1e-5)
    plain = read_checkpoint(tmp_path / "plain.ckpt")
    assert plain.config["model"]["decoder"]["lora"] == {"rank": None}
    assert (plain.epochs, plain.data) == (checkpoint.epochs, checkpoint.data)
    assert not plain.resumable


def test_a_checkpoint_is_not_written_over(tmp_path: Path):
    torch.save(honest(*SMALL), tmp_path / "best.ckpt")
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    content = (tmp_path / "best.ckpt").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        write_checkpoint(checkpoint, tmp_path / "best.ckpt")
    assert (tmp_path / "best.ckpt").read_bytes() == content


def test_an_export_holds_the_average_and_not_the_weights_in_training(tmp_path: Path):
    content = honest(*SMALL)
    training = {name: tensor + 1 for name, tensor in content["state_dict"].items()}
    content |= {"optimizer_states": [], "average": {"steps": 3, "began": 0, "weights": training}}
    content["captionlab"]["config"]["callbacks"]["average"] = {"decay": 0.999}
    torch.save(content, tmp_path / "last.ckpt")
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    write_export(checkpoint, tmp_path / "out", ExportSettings("safetensors"))
    for name, tensor in read_checkpoint(tmp_path / "out").weights.items():
        assert torch.equal(tensor, content["state_dict"][f"captioner.{name}"])
    assert "moving average (decay 0.999)" in (tmp_path / "out" / "README.md").read_text()
    assert (
        "callbacks" not in json.loads((tmp_path / "out" / "captionlab.json").read_text())["config"]
    )
