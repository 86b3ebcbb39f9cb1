"""Memory of chosen layers of torchvision's networks, against hooks on the networks themselves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from captionlab.core.errors import UserError
from captionlab.models.encoders.torchvision import TorchvisionEncoder

# channels last sum a convolution up in another order
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


def built(name: str, **options: object) -> TorchvisionEncoder:
    torch.manual_seed(0)
    return TorchvisionEncoder(name, **{"weights": None, "image_size": 64, **options})


def outputs(network: nn.Module, names: list[str], pixels: Tensor) -> list[Tensor]:
    """Return what modules of a network give, by forward hooks."""
    found: dict[str, Tensor] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        network(pixels)
    return [found[name] for name in names]


def network_of(name: str, encoder: TorchvisionEncoder) -> nn.Module:
    """Return torchvision's whole network with an encoder's weights."""
    size = {"image_size": 64} if name.startswith("vit") else {}
    network = models.get_model(name, weights=None, **size).eval()
    network.load_state_dict(encoder.trunk.state_dict(), strict=False)
    return network


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large", "vit_b_32", "swin_t"])
@pytest.mark.parametrize("layers", [None, [-1]], ids=["null", "last"])
def test_the_last_layer_is_the_memory_without_the_option(name: str, layers: list[int] | None):
    plain, chosen = built(name), built(name, layers=layers)
    assert plain.state_dict().keys() == chosen.state_dict().keys()
    before, after = plain(IMAGES), chosen(IMAGES)
    assert torch.equal(before.slots, after.slots)
    assert torch.equal(before.pooled, after.pooled)
    assert chosen.layer_indices == (-1,)


STAGES = {
    "resnet18": ["layer2", "layer3", "layer4"],
    "vgg11": ["features.9", "features.14", "features.19"],
    "densenet121": ["features.denseblock2", "features.denseblock3", "features.norm5"],
    "swin_t": ["features.3", "features.5", "permute"],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_averaged_to_the_deepest_grid_and_concatenated(name: str):
    encoder = built(name, layers=[-3, -2, -1])
    pixels = encoder.normalize(IMAGES)
    maps = outputs(network_of(name, encoder), STAGES[name], pixels)
    if name == "swin_t":
        maps[:2] = [x.permute(0, 3, 1, 2) for x in maps[:2]]
    if name == "densenet121":  # its last norm is followed by a function
        maps[2] = maps[2].relu()
    first = F.avg_pool2d(maps[0], maps[0].shape[-1] // maps[2].shape[-1])
    second = F.avg_pool2d(maps[1], maps[1].shape[-1] // maps[2].shape[-1])
    expected = torch.cat([first, second, maps[2]], 1).flatten(2).mT
    memory = encoder(IMAGES)
    torch.testing.assert_close(memory.slots, expected, **ROUNDING)
    torch.testing.assert_close(memory.pooled, expected.mean(1), **ROUNDING)
    assert memory.slots.shape[-1] == encoder.dim == encoder.pooled_dim


@pytest.mark.parametrize("layers", [[3], [-2]], ids=["front", "end"])
def test_an_inner_stage_keeps_its_own_grid_and_ends_the_network(layers: list[int]):
    encoder = built("resnet18", layers=layers)
    (expected,) = outputs(network_of("resnet18", encoder), ["layer3"], encoder.normalize(IMAGES))
    encoder.trunk.layer4.register_forward_hook(lambda *_: pytest.fail("layer4 was run"))
    memory = encoder(IMAGES)
    torch.testing.assert_close(memory.slots, expected.flatten(2).mT, **ROUNDING)
    assert memory.slots.shape == (2, 16, 256)


def test_the_order_of_layers_is_that_of_the_channels():
    one, other = (
        built("resnet18", layers=[-1, -2])(IMAGES),
        built("resnet18", layers=[-2, -1])(IMAGES),
    )
    assert torch.equal(one.slots[..., :512], other.slots[..., 256:])
    assert torch.equal(one.slots[..., 512:], other.slots[..., :256])


def test_a_transformers_layers_pass_its_last_norm():
    encoder = built("vit_b_32", layers=[-2, 0, 11])
    network = network_of("vit_b_32", encoder)
    names = [f"encoder.layers.encoder_layer_{number}" for number in (10, 0, 11)]
    found = outputs(network, names, encoder.normalize(IMAGES))
    expected = torch.cat([network.encoder.ln(x) for x in found], -1)
    memory = encoder(IMAGES)
    torch.testing.assert_close(memory.slots, expected[:, 1:])
    torch.testing.assert_close(memory.pooled, expected[:, 0])
    assert encoder.dim == 3 * 768
    mean = built("vit_b_32", layers=[-2, 0, 11], pooled="mean")(IMAGES)
    torch.testing.assert_close(mean.pooled, mean.slots.mean(1))


def test_what_learns_is_the_same_with_more_layers():
    def learning(**options: object) -> set[str]:
        encoder = built("resnet18", trainable="last_stage", **options)
        return {name for name, p in encoder.named_parameters() if p.requires_grad}

    assert learning(layers=[-2, -1]) == learning()
    memory = built("resnet18", trainable="last_stage", layers=[-2, -1]).train()(IMAGES)
    assert memory.slots.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, r"layers=\[\] reads no layer: resnet18 at .* has 5 layers"),
        ({"layers": [-6]}, r"no layer -6, resnet18 .* has 5 layers, 0 to 4 or -5 to -1"),
        ({"layers": [0, 5]}, r"layers=\[0, 5\]: there is no layer 5"),
        ({"layers": [-1, 4]}, r"layers=\[-1, 4\] names a layer twice \(-1 and 4 are one\)"),
        ({"layers": [0], "image_size": 512}, r"65,536 slots, and 16,384 are the most"),
        ({"layers": [-2], "trainable": "last_stage"}, r"trainable=last_stage: nothing reads it"),
        ({"pooled": "token"}, r"pooled=token: resnet18 has no class token.*pooled=mean"),
        ({"pooled": "projection"}, r"resnet18 has no image embedding"),
    ],
    ids=["none", "below", "above", "twice", "slots", "unread", "token", "projection"],
)
def test_choices_that_cannot_work_are_refused(options: dict[str, object], message: str):
    with pytest.raises(UserError, match=message):
        built("resnet18", **options)
