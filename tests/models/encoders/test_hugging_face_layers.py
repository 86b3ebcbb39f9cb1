"""Chosen layers and image embeddings of Hugging Face's vision models, against the library itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from captionlab.core.errors import UserError
from captionlab.models.encoders.hugging_face import HuggingFaceEncoder

transformers = pytest.importorskip("transformers")
IMAGES = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
VIT = {**SIZES, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
CONVNEXT = {"hidden_sizes": [8, 12, 16], "depths": [1, 1, 1], "num_stages": 3}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "window_size": 4}
SWIN |= {"depths": [1, 1, 1], "num_heads": [2, 2, 2]}
PROJECTED = 10


def built(kind: str, sizes: dict[str, Any], **options: Any) -> HuggingFaceEncoder:
    """Return an encoder of random weights whose norms are no identities."""
    torch.manual_seed(0)
    entries = {**sizes, "model_type": kind}
    encoder = HuggingFaceEncoder(
        "none", weights=None, architecture=entries, image_size=32, **options
    )
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return encoder


def save_clip(path: Path) -> Any:
    """Save a small CLIP with both towers, and return it."""
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(vision_config=VIT, text_config=text, projection_dim=PROJECTED)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(path)
    return model


@pytest.mark.parametrize(
    ("kind", "norm"),
    [
        ("vit", "layernorm"),
        ("clip_vision_model", None),
        ("dinov2_with_registers", "layernorm"),
        ("siglip_vision_model", "post_layernorm"),
    ],
    ids=["vit", "clip", "registers", "siglip"],
)
def test_layers_pass_the_last_norm_and_are_concatenated(kind: str, norm: str | None):
    encoder = built(kind, VIT, layers=[-2, 0, -1])
    network = encoder.trunk
    blocks = next(
        m for m in network.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3
    )
    found: dict[int, torch.Tensor] = {}
    for number in (1, 0, 2):
        blocks[number].register_forward_hook(
            lambda module, inputs, output, number=number: found.__setitem__(
                number, output[0] if isinstance(output, tuple) else output
            )
        )
    memory = encoder(IMAGES)
    last = torch.nn.Identity() if norm is None else network.get_submodule(norm)
    expected = torch.cat([last(found[number]) for number in (1, 0, 2)], -1)
    prefix = expected.shape[1] - 16
    torch.testing.assert_close(memory.slots, expected[:, prefix:])
    first = expected[:, 0] if prefix else expected.mean(1)
    torch.testing.assert_close(memory.pooled, first)
    assert encoder.dim == encoder.pooled_dim == 48


@pytest.mark.parametrize(
    ("kind", "sizes"), [("vit", VIT), ("clip_vision_model", VIT), ("swin", SWIN)]
)
@pytest.mark.parametrize("layers", [None, [-1]], ids=["null", "last"])
def test_the_last_layer_is_the_memory_without_the_option(kind, sizes, layers):
    plain, chosen = built(kind, sizes), built(kind, sizes, layers=layers)
    assert plain.state_dict().keys() == chosen.state_dict().keys()
    assert torch.equal(plain(IMAGES).slots, chosen(IMAGES).slots)
    assert torch.equal(plain(IMAGES).pooled, chosen(IMAGES).pooled)


@pytest.mark.parametrize(("kind", "sizes"), [("convnext", CONVNEXT), ("swin", SWIN)])
def test_maps_of_a_pyramid_are_averaged_to_the_deepest_grid(kind: str, sizes: dict[str, Any]):
    encoder = built(kind, sizes, layers=[0, -1])
    output = encoder.trunk(pixel_values=encoder.normalize(IMAGES), output_hidden_states=True)
    if kind == "swin":
        first = output.reshaped_hidden_states[1]
        last = output.last_hidden_state.mT.unflatten(-1, (4, 4))
    else:
        first, last = output.hidden_states[1], output.last_hidden_state
    pooled = F.avg_pool2d(first, first.shape[-1] // last.shape[-1])
    expected = torch.cat([pooled, last], 1).flatten(2).mT
    memory = encoder(IMAGES)
    torch.testing.assert_close(memory.slots, expected)
    torch.testing.assert_close(memory.pooled, expected.mean(1))


def test_clips_embedding_stands_beside_its_patches(tmp_path: Path):
    theirs = save_clip(tmp_path)
    ours = HuggingFaceEncoder(str(tmp_path), pooled="projection", image_size=32)
    memory = ours(IMAGES)
    with torch.no_grad():
        tower = theirs.vision_model(pixel_values=ours.normalize(IMAGES))
        torch.testing.assert_close(memory.pooled, theirs.visual_projection(tower.pooler_output))
    torch.testing.assert_close(memory.slots, tower.last_hidden_state[:, 1:])
    assert (ours.dim, ours.pooled_dim) == (16, PROJECTED)
    assert not any(p.requires_grad for p in ours.parameters())


def test_a_tower_with_its_projection_is_read_from_its_files_and_a_state_dict(tmp_path: Path):
    whole = save_clip(tmp_path / "clip")
    expected = HuggingFaceEncoder(str(tmp_path / "clip"), pooled="projection", image_size=32)
    config = transformers.CLIPVisionConfig(**VIT, projection_dim=PROJECTED)
    tower = transformers.CLIPVisionModelWithProjection(config)
    tower.load_state_dict(whole.state_dict(), strict=False)
    tower.save_pretrained(tmp_path / "tower")
    named = HuggingFaceEncoder(str(tmp_path / "tower"), pooled="projection", image_size=32)
    assert torch.equal(named(IMAGES).pooled, expected(IMAGES).pooled)
    torch.save(whole.state_dict(), tmp_path / "clip.pt")
    file = HuggingFaceEncoder(
        str(tmp_path / "tower"),
        weights=str(tmp_path / "clip.pt"),
        pooled="projection",
        image_size=32,
    )
    assert torch.equal(file.projection.weight, expected.projection.weight)
    bare = {name: tensor for name, tensor in whole.state_dict().items() if "visual_p" not in name}
    torch.save(bare, tmp_path / "bare.pt")
    with pytest.raises(UserError, match=r"visual_projection\.weight is missing"):
        HuggingFaceEncoder(
            str(tmp_path / "tower"),
            weights=str(tmp_path / "bare.pt"),
            pooled="projection",
            image_size=32,
        )


def test_a_projection_is_rebuilt_from_the_entries_of_a_checkpoint(tmp_path: Path):
    save_clip(tmp_path)
    first = HuggingFaceEncoder(str(tmp_path), pooled="projection", layers=[-2, -1], image_size=32)
    entries = json.loads(json.dumps(first.architecture))
    again = HuggingFaceEncoder(
        "gone",
        weights=None,
        architecture=entries,
        pooled="projection",
        layers=[-2, -1],
        image_size=32,
    )
    again.load_state_dict(first.state_dict())
    assert torch.equal(again(IMAGES).pooled, first(IMAGES).pooled)
    assert torch.equal(again(IMAGES).slots, first(IMAGES).slots)


def test_siglips_embedding_is_what_its_pooling_head_gives():
    encoder = built("siglip_vision_model", VIT, pooled="projection")
    with torch.no_grad():
        output = encoder.trunk(pixel_values=encoder.normalize(IMAGES))
    torch.testing.assert_close(encoder(IMAGES).pooled, output.pooler_output)


def test_the_vector_is_the_class_token_or_the_mean_where_asked():
    encoder = built("clip_vision_model", VIT, pooled="token")
    with torch.no_grad():
        output = encoder.trunk(pixel_values=encoder.normalize(IMAGES))
    torch.testing.assert_close(encoder(IMAGES).pooled, output.last_hidden_state[:, 0])
    mean = built("clip_vision_model", VIT, pooled="mean")(IMAGES)
    torch.testing.assert_close(mean.pooled, mean.slots.mean(1))


def test_a_projection_learns_with_the_whole_tower_only():
    def learns(trainable: str) -> bool:
        encoder = built("clip_vision_model", VIT, pooled="projection", trainable=trainable)
        return encoder.projection.weight.requires_grad

    assert learns("all")
    assert not learns("last_stage")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vit", {"layers": []}, r"layers=\[\] reads no layer: none has 3 layers, 0 to 2"),
        ("vit", {"layers": [3]}, r"there is no layer 3, none has 3 layers, 0 to 2 or -3 to -1"),
        ("vit", {"layers": [2, -1]}, r"names a layer twice \(-1 and 2 are one\)"),
        (
            "vit",
            {"pooled": "projection"},
            r"pooled=projection: none \(vit\) has no image embedding",
        ),
        ("siglip_vision_model", {"pooled": "token"}, r"has no class token; .*=mean or projection"),
        ("vit", {"layers": [0], "trainable": "last_stage"}, "nothing reads it"),
    ],
    ids=["none", "above", "twice", "projection", "token", "unread"],
)
def test_layers_and_vectors_that_are_not_there_are_refused(kind, options, message):
    with pytest.raises(UserError, match=message):
        built(kind, VIT, **options)


def test_a_tower_whose_files_lack_the_projection_is_refused(tmp_path: Path):
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VIT)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no image embedding to compare with texts"):
        HuggingFaceEncoder(str(tmp_path), pooled="projection", image_size=32)
