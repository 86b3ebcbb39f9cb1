"""Hugging Face's vision models as encoders, against the library itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.models.encoders.hugging_face import HuggingFaceEncoder

transformers = pytest.importorskip("transformers")
IMAGES = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
VIT = {**SIZES, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
MEAN = [0.1, 0.2, 0.3]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with both towers, as the library saves it."""
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(vision_config=VIT, text_config={**SIZES, "vocab_size": 30})
    transformers.CLIPModel(config).save_pretrained(path)
    means = {"image_mean": MEAN, "image_std": [0.5] * 3}
    (path / "preprocessor_config.json").write_text(json.dumps(means))
    return path


def test_slots_are_clips_patches(clip: Path):
    ours = HuggingFaceEncoder(str(clip), image_size=32)
    theirs = transformers.CLIPVisionModel.from_pretrained(clip).eval()
    memory = ours(IMAGES)
    pixels = (IMAGES / 255 - torch.tensor(MEAN).view(3, 1, 1)) / 0.5
    with torch.no_grad():
        found = theirs(pixel_values=pixels)
    torch.testing.assert_close(memory.slots, found.last_hidden_state[:, 1:])
    torch.testing.assert_close(memory.pooled, found.pooler_output)
    assert memory.slots.shape == (2, 16, ours.dim)


def test_it_is_rebuilt_from_its_entries(clip: Path):
    first = HuggingFaceEncoder(str(clip), image_size=32)
    entries = json.loads(json.dumps(first.architecture))
    again = HuggingFaceEncoder("gone", weights=None, architecture=entries, image_size=32)
    again.load_state_dict(first.state_dict())
    torch.testing.assert_close(again(IMAGES).slots, first(IMAGES).slots)


@pytest.mark.parametrize(
    ("entries", "slots", "dim"),
    [
        ({**VIT, "model_type": "vit"}, 16, 16),
        ({**VIT, "model_type": "dinov2_with_registers", "num_register_tokens": 4}, 16, 16),
        (
            {"model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
            16,
            16,
        ),
        (
            {
                "model_type": "swin",
                "image_size": 32,
                "patch_size": 2,
                "embed_dim": 8,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "window_size": 4,
            },
            64,
            16,
        ),
    ],
    ids=["vit", "registers", "convnext", "swin"],
)
def test_any_vision_model_gives_its_cells(entries, slots, dim):
    memory = HuggingFaceEncoder("none", weights=None, architecture=entries, image_size=32)(IMAGES)
    assert memory.slots.shape == (2, slots, dim)
    assert memory.pooled.shape == (2, dim)


def test_only_what_is_told_learns(clip: Path):
    assert not HuggingFaceEncoder(str(clip), image_size=32).train()(IMAGES).slots.requires_grad
    partly = HuggingFaceEncoder(str(clip), image_size=32, trainable="last_stage").train()
    learning = {n for n, p in partly.named_parameters() if p.requires_grad}
    assert learning
    assert all(".layers.1." in name for name in learning)
    assert partly(IMAGES).slots.requires_grad


def test_what_cannot_work_is_said(clip: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"image_size=48.*it was made for image_size=32"):
        HuggingFaceEncoder(str(clip), image_size=48)
    with pytest.raises(UserError, match="no folder of that name"):
        HuggingFaceEncoder(str(tmp_path / "none"))
    with pytest.raises(UserError, match="trainable='some'"):
        HuggingFaceEncoder(str(clip), image_size=32, trainable="some")
