"""Published files of weights: what is certain to be meant is taken, and said; the rest is explained."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from captionlab.core.errors import UserError
from captionlab.models.encoders import weight_files
from captionlab.models.encoders.small_cnn import SmallCNN
from captionlab.models.encoders.torchvision import TorchvisionEncoder
from captionlab.models.encoders.weight_files import read_weights_file
from hostile_support import MEMORY, Calls, forget_peak, legacy, peak_memory, rewritten, watched
from tests_support import HANG

IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


def below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


WRAPS = {
    "bare": lambda s: s,
    "DataParallel": lambda s: {"state_dict": below("module.", s), "arch": "resnet18", "epoch": 90},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer": {"lr": 1}},
    "Lightning": lambda s: {"state_dict": below("model.", s), "hyper_parameters": {"lr": 1}},
    "backbone and projection": lambda s: {
        **below("backbone.", s),
        "projection_head.0.weight": torch.zeros(2, 2),
    },
    "MoCo": lambda s: {"state_dict": below("module.encoder_q.", s)},
    "a captioner of ours": lambda s: {"state_dict": below("captioner.encoder.trunk.", s)},
    "twice wrapped": lambda s: {"model": {"state_dict": below("module.", s)}},
    "with a mask token": lambda s: {
        "model": s,
        "queue": torch.zeros(3),
        "queue_ptr": torch.zeros(1),
    },
}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return models.resnet18().state_dict()


@pytest.fixture(scope="module")
def slots(state) -> torch.Tensor:
    encoder = TorchvisionEncoder("resnet18", weights=None, image_size=64)
    encoder.trunk.load_state_dict(state, strict=False)
    return encoder(IMAGES).slots


def resnet18(path: Path) -> TorchvisionEncoder:
    return TorchvisionEncoder("resnet18", weights=str(path), image_size=64)


@pytest.mark.parametrize("kind", WRAPS)
def test_a_published_file_gives_its_own_network(state, slots, tmp_path, caplog, kind):
    torch.save(WRAPS[kind](state), tmp_path / "weights.pth")
    logger = logging.getLogger("captionlab")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        encoder = resnet18(tmp_path / "weights.pth")
    logger.removeHandler(caplog.handler)
    assert torch.equal(encoder(IMAGES).slots, slots)
    assert "entries beside the network left out" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(state, slots, tmp_path, dtype):
    kept = {n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}
    torch.save(kept, tmp_path / "weights.pth")
    encoder = resnet18(tmp_path / "weights.pth")
    assert encoder.trunk.conv1.weight.dtype == torch.float32
    torch.testing.assert_close(encoder(IMAGES).slots, slots, rtol=0.1, atol=0.1)


def test_safetensors_and_files_of_old_torch_are_read(state, slots, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(below("module.", state), tmp_path / "weights.safetensors")
    assert torch.equal(resnet18(tmp_path / "weights.safetensors")(IMAGES).slots, slots)
    (tmp_path / "old.pth").write_bytes(legacy(state))
    assert torch.equal(resnet18(tmp_path / "old.pth")(IMAGES).slots, slots)


def test_timm_and_hugging_face_take_files_with_a_classifier(tmp_path):
    timm = pytest.importorskip("timm")
    from captionlab.models.encoders.timm import TimmEncoder

    torch.manual_seed(0)
    whole = timm.create_model("resnet10t").eval()
    torch.save({"state_dict": below("module.", whole.state_dict())}, tmp_path / "timm.pt")
    ours = TimmEncoder("resnet10t", weights=str(tmp_path / "timm.pt"), image_size=64)
    theirs = whole.forward_features(ours.normalize(IMAGES))
    torch.testing.assert_close(ours(IMAGES).slots, theirs.flatten(2).transpose(1, 2))

    transformers = pytest.importorskip("transformers")
    from captionlab.models.encoders.hugging_face import HuggingFaceEncoder

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    network = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes)).eval()
    torch.save(network.state_dict(), tmp_path / "hf.pt")
    entries = {"model_type": "resnet", **sizes}
    path = str(tmp_path / "hf.pt")
    encoder = HuggingFaceEncoder("x", architecture=entries, weights=path, image_size=32)
    pixels = encoder.normalize(IMAGES)
    found = network.resnet(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(encoder(IMAGES).slots, found.flatten(2).transpose(1, 2))


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """Let a busy machine take its time to look for the network that a file is of."""
    monkeypatch.setattr(weight_files, "_SECONDS", HANG)


@pytest.mark.parametrize(
    ("other", "file", "named"),
    [
        ("resnet34", "resnet34-333f7ec4.pth", "it is of resnet34"),
        ("resnet34", "mine.pth", "it is of resnet34"),
        ("mobilenet_v3_small", "mobilenet_v3_small.pth", "it is of mobilenet_v3_small"),
    ],
)
def test_a_file_of_another_network_is_named(tmp_path, other, file, named):
    torch.save(models.get_model(other).state_dict(), tmp_path / file)
    with pytest.raises(UserError) as error:
        TorchvisionEncoder("resnet50", weights=str(tmp_path / file), image_size=64)
    message = str(error.value)
    assert named in message
    assert "model.encoder.weights=" in message
    assert message.count(";") == 2  # three of what differs
    assert len(message) < 600


def test_a_deeper_network_is_not_cut_to_fit(tmp_path):
    """Every tensor of a shallow one is in the deep one's file, in its shape."""
    timm = pytest.importorskip("timm")
    from captionlab.models.encoders.timm import TimmEncoder

    torch.manual_seed(0)
    deep = timm.create_model("vit_tiny_patch16_224", img_size=64).state_dict()
    deep |= {n.replace("blocks.0.", "blocks.12."): v for n, v in deep.items() if "blocks.0." in n}
    torch.save(deep, tmp_path / "deep.pt")
    with pytest.raises(UserError, match=r"blocks\.12\.\S+ has no place"):
        TimmEncoder("vit_tiny_patch16_224", weights=str(tmp_path / "deep.pt"), image_size=64)


def test_several_networks_in_a_file_are_not_guessed_among(state, tmp_path):
    torch.save({**below("student.", state), **below("teacher.", state)}, tmp_path / "dino.pth")
    with pytest.raises(UserError, match=r"several networks.*'student\.'.*'teacher\.'"):
        resnet18(tmp_path / "dino.pth")


def test_a_small_cnn_is_read_back(tmp_path):
    first = SmallCNN(image_size=32)
    torch.save({"state_dict": below("captioner.encoder.", first.state_dict())}, tmp_path / "a.ckpt")
    again = SmallCNN(weights=str(tmp_path / "a.ckpt"), image_size=32)
    assert torch.equal(again.positions, first.positions)


def spoiled(name: str, tensor: torch.Tensor):
    return lambda s: {**s, name: tensor}


HOSTILE = {
    "a number that is none": spoiled("conv1.weight", torch.full((64, 3, 7, 7), float("nan"))),
    "whole numbers": spoiled("conv1.weight", torch.zeros(64, 3, 7, 7, dtype=torch.int32)),
    "one number repeated": spoiled("conv1.weight", torch.zeros(1).expand(10**6, 10**6)),
    "on no device": spoiled("conv1.weight", torch.empty(64, 3, 7, 7, device="meta")),
    "sparse": spoiled("conv1.weight", torch.zeros(64, 147).to_sparse()),
    "no tensors": lambda s: {"a": 1, "b": "c"},
    "a list": lambda s: [1, 2],
    "a tensor": lambda s: torch.zeros(3),
    "nothing": lambda s: {},
    "another project's net": lambda s: {"state_dict": below("net.", s), "epoch": 1},
    "a call": lambda s: {"state_dict": s, "more": Calls(print, "pwned")},
    "a whole module": lambda s: torch.nn.Linear(2, 2),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore:Validating sparse:UserWarning")
def test_a_hostile_file_ends_in_one_sentence(state, tmp_path, kind):
    torch.save(HOSTILE[kind](state), tmp_path / "weights.pth")
    refuse(tmp_path / "weights.pth")


def refuse(path: Path) -> None:
    forget_peak()
    before = peak_memory()
    with watched() as watch, pytest.raises(UserError, match=r"model\.encoder\.weights=") as error:
        resnet18(path)
    assert "\n" not in str(error.value)
    assert not watch.written
    assert not watch.connected
    assert peak_memory() - before < MEMORY


@pytest.mark.parametrize("name", ["empty.pth", "page.pth", "cut.pth", "empty.safetensors", "."])
def test_what_is_no_file_of_weights_ends_in_one_sentence(state, tmp_path, name):
    torch.save(state, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    for empty in ("empty.pth", "empty.safetensors"):
        (tmp_path / empty).touch()
    (tmp_path / "page.pth").write_text("<!doctype html><html>Sign in</html>")
    refuse(tmp_path / name)


def test_a_packed_archive_is_not_unpacked(state, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    rewritten(tmp_path / "weights.pth", lambda name, data: data, packed=True)
    assert zipfile.is_zipfile(tmp_path / "weights.pth")
    with pytest.raises(UserError, match="would unpack"):
        read_weights_file(tmp_path / "weights.pth", "model.encoder.weights")
