"""timm's models as encoders, against timm itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.models.encoders.timm import TimmEncoder

timm = pytest.importorskip("timm")
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_slots_are_timms_features(name: str, tmp_path: Path):
    torch.manual_seed(0)
    sizes = {"img_size": 64} if "vit" in name else {}
    theirs = timm.create_model(name, num_classes=0, **sizes).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = TimmEncoder(name, weights=str(tmp_path / "weights.pt"), image_size=64)
    memory = ours(IMAGES)
    with torch.no_grad():
        found = theirs.forward_features(ours.normalize(IMAGES))
        pooled = theirs.forward_head(found, pre_logits=True)
    expected = found.flatten(2).transpose(1, 2) if found.ndim == 4 else found[:, 1:]
    torch.testing.assert_close(memory.slots, expected)
    torch.testing.assert_close(memory.pooled, pooled)
    assert memory.slots.shape == (2, memory.mask.shape[1], ours.dim)


def test_only_what_is_told_learns():
    frozen = TimmEncoder("vit_tiny_patch16_224", weights=None, image_size=64).train()
    assert not frozen(IMAGES).slots.requires_grad
    partly = TimmEncoder(
        "vit_tiny_patch16_224", weights=None, image_size=64, trainable="last_stage"
    )
    learning = {n for n, p in partly.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("trunk.blocks.11.") for name in learning)


def test_wrong_names_and_files_are_said(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean 'resnet10t'"):
        TimmEncoder("resnet10tt", weights=None)
    with pytest.raises(UserError, match="there is no such file"):
        TimmEncoder("resnet10t", weights=str(tmp_path / "no.pt"), image_size=64)


def hooked(network, names: list[str], pixels: torch.Tensor) -> list[torch.Tensor]:
    """Return what modules of a network give, by forward hooks."""
    found = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.__setitem__(name, output.clone())
        )
    with torch.no_grad():
        network.forward_features(pixels)
    return [found[name] for name in names]


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("layers", [None, [-1]], ids=["null", "last"])
def test_the_last_layer_is_the_memory_without_the_option(name: str, layers: list[int] | None):
    def memory(**options):
        torch.manual_seed(0)
        return TimmEncoder(name, weights=None, image_size=64, **options)(IMAGES)

    assert torch.equal(memory().slots, memory(layers=layers).slots)
    assert torch.equal(memory().pooled, memory(layers=layers).pooled)


def test_stages_are_averaged_to_the_deepest_grid_and_concatenated():
    torch.manual_seed(0)
    ours = TimmEncoder("tf_efficientnet_lite0", weights=None, layers=[2, -2, -1], image_size=64)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    theirs.load_state_dict(ours.trunk.state_dict())
    names = ["blocks.2", "blocks.4", "bn2"]
    maps = hooked(theirs, names, ours.normalize(IMAGES))
    pooled = [torch.nn.functional.avg_pool2d(x, x.shape[-1] // 2) for x in maps]
    memory = ours(IMAGES)
    torch.testing.assert_close(memory.slots, torch.cat(pooled, 1).flatten(2).mT)
    torch.testing.assert_close(memory.pooled, memory.slots.mean(1))
    assert ours.dim == ours.pooled_dim == 40 + 112 + 1280


def test_blocks_pass_the_last_norm_and_are_concatenated():
    torch.manual_seed(0)
    name = "vit_tiny_patch16_224"
    ours = TimmEncoder(name, weights=None, layers=[-3, -1, 0], image_size=64)
    theirs = timm.create_model(name, num_classes=0, img_size=64).eval()
    theirs.load_state_dict(ours.trunk.state_dict())
    found = hooked(theirs, ["blocks.9", "blocks.11", "blocks.0"], ours.normalize(IMAGES))
    expected = torch.cat([theirs.norm(x) for x in found], -1)
    memory = ours(IMAGES)
    torch.testing.assert_close(memory.slots, expected[:, 1:])
    torch.testing.assert_close(memory.pooled, expected[:, 0])
    inner = TimmEncoder(name, weights=None, layers=[-2], pooled="mean", image_size=64)(IMAGES)
    torch.testing.assert_close(inner.pooled, inner.slots.mean(1))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "convnext_atto", "resnet10t"])
def test_any_grid_of_timms_can_be_read_at_two_stages(name: str):
    ours = TimmEncoder(name, weights=None, layers=[-2, -1], image_size=64)
    assert ours(IMAGES).slots.shape == (2, 4, ours.dim)
    assert ours.dim > ours.trunk.num_features


def test_clips_embedding_stands_beside_its_patches():
    torch.manual_seed(0)
    name = "vit_base_patch32_clip_224.openai"
    ours = TimmEncoder(name, weights=None, pooled="projection", image_size=64)
    theirs = timm.create_model(name, img_size=64).eval()
    theirs.load_state_dict(ours.trunk.state_dict())
    memory = ours(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(memory.pooled, theirs(ours.normalize(IMAGES)))
    assert (ours.dim, ours.pooled_dim) == (768, 512)
    assert memory.pooled.shape == (2, 512)
    assert memory.slots.shape == (2, 4, 768)


def test_siglips_embedding_is_what_its_pooling_gives():
    name = "vit_base_patch16_siglip_224"
    ours = TimmEncoder(name, weights=None, pooled="projection", image_size=32)
    pixels = ours.normalize(IMAGES[..., :32, :32])
    with torch.no_grad():
        torch.testing.assert_close(ours(IMAGES[..., :32, :32]).pooled, ours.trunk(pixels))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet10t", {"layers": [5]}, r"layers=\[5\]: .*timm's resnet10t has 5 layers, 0 to 4"),
        ("resnet10t", {"layers": []}, r"layers=\[\] reads no layer"),
        ("resnet10t", {"pooled": "token"}, r"pooled=token: timm's resnet10t has no class token"),
        ("resnet10t", {"pooled": "projection"}, "no image embedding to compare with texts"),
        (
            "vit_base_patch32_clip_224.laion2b_ft_in1k",
            {"pooled": "projection"},
            "no image embedding to compare with texts",
        ),
    ],
    ids=["above", "none", "token", "projection", "tuned"],
)
def test_layers_and_vectors_that_are_not_there_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        TimmEncoder(name, weights=None, image_size=64, **options)
