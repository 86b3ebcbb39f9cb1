import socket
import urllib.error

import pytest
import torch
from torchvision import models

from captionlab.core.errors import UserError
from captionlab.models.encoders.torchvision import TorchvisionEncoder


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Make tmp_path torch's home, without a network; return the folder for weights."""

    def unreachable(*_, **__):
        assert socket.getdefaulttimeout() <= 10
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def _state(name="resnet18"):
    torch.manual_seed(3)
    return models.get_model(name, weights=None).state_dict()


def _encoder(weights, name="resnet18"):
    return TorchvisionEncoder(name, weights=weights, image_size=64)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "DEFAULT"])
def test_torchvisions_file_is_found_in_torchs_home(store, weights):
    state = _state()
    torch.save(state, store / "resnet18-f37072fd.pth")
    trunk = _encoder(weights).trunk.state_dict()
    assert torch.equal(trunk["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert not any(key.startswith("fc") for key in trunk)


def test_missing_weights_get_one_sentence_that_says_where_they_belong(store):
    with pytest.raises(UserError) as caught:
        _encoder("DEFAULT")
    message = str(caught.value)
    assert "put the file resnet18-f37072fd.pth from https://" in message
    assert str(store) in message
    assert "model.encoder.weights=null" in message
    assert "\n" not in message
    assert socket.getdefaulttimeout() is None


def _as_checkpoint(state):
    ours = {f"captioner.encoder.trunk.{name}": value for name, value in state.items()}
    return {"state_dict": {**ours, "captioner.decoder.words.weight": torch.zeros(3)}}


@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s}, _as_checkpoint],
    ids=["bare", "model", "state_dict", "captionlab"],
)
def test_local_file_is_loaded(tmp_path, wrap):
    state = _state()
    torch.save(wrap(state), tmp_path / "mine.pth")
    trunk = _encoder(str(tmp_path / "mine.pth")).trunk
    assert torch.equal(trunk.conv1.weight, state["conv1.weight"])


def test_old_names_of_densenet_are_understood(tmp_path):
    state = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in _state("densenet121").items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "old.pth")
    trunk = _encoder(str(tmp_path / "old.pth"), "densenet121").trunk
    key = "features.denseblock1.denselayer1.conv.2.weight"
    assert torch.equal(trunk.features.denseblock1.denselayer1.conv2.weight, state[key])


def test_weights_of_another_network_are_refused_naming_the_first_keys(tmp_path):
    torch.save(_state("resnet34"), tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"do not fit resnet50.*layer1.0.conv1.weight is \(64, 64"):
        _encoder(str(tmp_path / "other.pth"), "resnet50")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"conv1.weight is missing.* and \d+ more"):
        _encoder(str(tmp_path / "other.pth"))


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_file_that_is_not_of_weights_is_refused(tmp_path, content):
    (tmp_path / "broken.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"broken.pth is not a file of PyTorch weights"):
        _encoder(str(tmp_path / "broken.pth"))


def test_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"state_dict": print}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"code.pth is not a file of PyTorch weights"):
        _encoder(str(tmp_path / "code.pth"))


def test_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list, not a state dict"):
        _encoder(str(tmp_path / "list.pth"))


def test_unknown_weights_get_the_nearest_name():
    with pytest.raises(UserError, match=r"IMAGENET1K_V3 is neither .* did you mean 'IMAGENET1K_V"):
        _encoder("IMAGENET1K_V3", "resnet50")
