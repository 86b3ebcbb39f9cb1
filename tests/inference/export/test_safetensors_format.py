"""A captioner as weights and JSON: the same captions, read with the care that checkpoints get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from captionlab import load_captioner
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export.write import ExportSettings, public_config, write_export
from hostile_support import honest
from tests_support import PRESETS, SMALLER

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
PICTURES = sorted((FIXTURES / "pictures").iterdir())


def exported(name: str, folder: Path, **settings) -> Path:
    write_export(
        read_checkpoint(FIXTURES / f"{name}.ckpt"),
        folder,
        ExportSettings("safetensors", **settings),
    )
    return folder


@pytest.mark.parametrize("name", ["lstm", "gpt2", "lstm_deep_tied", "latent", "m2"])
def test_an_export_captions_as_its_checkpoint(name: str, tmp_path: Path):
    folder = exported(name, tmp_path / "out")
    shutil.move(folder, tmp_path / "elsewhere")
    before = load_captioner(FIXTURES / f"{name}.ckpt")
    after = load_captioner(tmp_path / "elsewhere")
    images = torch.stack([before.prepare(path) for path in PICTURES])
    assert after.captions(images) == before.captions(images)
    for key, tensor in before.captioner.state_dict().items():
        assert torch.equal(tensor, after.captioner.state_dict()[key])


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_comes_back_with_its_weights(preset: str, tmp_path: Path):
    small = ("model/encoder=small_cnn", "model.encoder.channels=[8,12]")
    content = honest(f"model={preset}", *small, *SMALLER.get(preset, ()), "model/tags=none")
    torch.save(content, tmp_path / "best.ckpt")
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    write_export(checkpoint, tmp_path / "out", ExportSettings("safetensors"))
    weights = load_captioner(tmp_path / "out").captioner.state_dict()
    assert weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(weights[name], one) for name, one in checkpoint.weights.items())


def test_who_may_read_the_list_may_read_the_weights(tmp_path: Path):
    folder = exported("lstm", tmp_path / "out")
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_halves_are_half_as_large_and_load_as_floats(tmp_path: Path):
    whole = exported("lstm", tmp_path / "whole") / "weights.safetensors"
    half = exported("lstm", tmp_path / "half", precision="float16") / "weights.safetensors"
    header = 5_000
    assert half.stat().st_size < whole.stat().st_size / 2 + header
    captioner = load_captioner(tmp_path / "half").captioner
    assert {p.dtype for p in captioner.parameters()} == {torch.float32}


def test_a_weight_beyond_halves_is_refused(tmp_path: Path):
    checkpoint = read_checkpoint(FIXTURES / "lstm.ckpt")
    next(iter(checkpoint.weights.values())).fill_(1e6)
    with pytest.raises(UserError, match="leave --fp16 out"):
        write_export(checkpoint, tmp_path / "out", ExportSettings("safetensors", "float16"))
    assert not (tmp_path / "out").exists()


def test_other_decoding_is_chosen_as_for_a_checkpoint(tmp_path: Path):
    folder = exported("lstm", tmp_path / "out")
    loaded = load_captioner(folder, decoding=["decoding=beam", "decoding.num_captions=2"])
    assert len(loaded.captions(loaded.prepare(PICTURES[0]).unsqueeze(0))[0]) == 2


def test_an_export_writes_together_with_its_checkpoint(tmp_path: Path):
    folder = exported("lstm", tmp_path / "out")
    alone = load_captioner(folder)
    pair = load_captioner([folder, FIXTURES / "lstm.ckpt"])
    assert pair(PICTURES[0]) == alone(PICTURES[0])


def test_tied_weights_stand_in_the_file_once(tmp_path: Path):
    folder = exported("gpt2", tmp_path / "out")
    manifest = json.loads((folder / "captionlab.json").read_text())
    assert manifest["tied"] == {"decoder.output.weight": "decoder.body.wte.weight"}


def test_no_folder_of_this_machine_is_told(tmp_path: Path):
    config = {
        "model": {"encoder": {"weights": "/home/ada/weights.pt"}},
        "decoding": {"forbidden_words": ["/"]},
        "data": {"root": "~/photos", "source": {"file": "C:\\Users\\ada\\captions.csv"}},
        "output_dir": "/home/ada/runs/1",
        "logger": {"entity": "ada"},
    }
    public = json.dumps(public_config(config))
    assert "ada" not in public
    assert json.loads(public)["decoding"] == config["decoding"]
    assert json.loads(public)["data"] == {"root": "photos", "source": {"file": "captions.csv"}}


def test_an_image_is_captioned_from_the_command_line(tmp_path: Path, capsys):
    from captionlab.cli.main import main

    torch.save(honest(), tmp_path / "best.ckpt")
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "photo.png")
    photo, folder = str(tmp_path / "photo.png"), str(tmp_path / "out")
    words = ["export", str(tmp_path / "best.ckpt"), "--format", "safetensors", "--out", folder]
    for command in (words, ["predict", folder, photo, "--device", "cpu"]):
        with pytest.raises(SystemExit) as status:
            main(command)
        assert status.value.code == 0
    assert f"{photo}\t" in capsys.readouterr().out
