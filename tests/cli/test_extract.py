"""Stored features stand in for images, whichever the model is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from captionlab import load_captioner
from captionlab.build import Sizes, build_captioner, build_data, keep_architectures
from captionlab.cli.extract import check_features, extract, fingerprint
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.data.features.store import FeatureStore
from captionlab.models.encoders.stored import StoredEncoder
from commands_support import run_train
from tests_support import tiny_config

DATA = [
    "data.source.train_size=12",
    "data.source.val_size=4",
    "data.source.test_size=4",
    "data.tokenizer.threshold=1",
    "model.encoder.image_size=32",
]
FROZEN = ["model.encoder.trainable=none", "seed=1"]


@pytest.fixture
def frozen(tmp_path: Path) -> str:
    """A file of weights for the small encoder."""
    torch.manual_seed(0)
    captioner = build_captioner(tiny_config()["model"], Sizes(11, 0))
    torch.save(captioner.encoder.state_dict(), tmp_path / "encoder.pt")
    return f"model.encoder.weights={tmp_path / 'encoder.pt'}"


def test_a_batch_of_features_is_what_the_encoder_sees(tmp_path: Path, frozen: str, capsys):
    assert extract([*DATA, *FROZEN, frozen, f"out={tmp_path / 'store'}", "dtype=float32"]) == 0
    assert "24 images" in capsys.readouterr().out
    stored = tiny_config(*DATA, *FROZEN, frozen, f"data.features={tmp_path / 'store'}")
    drawn = tiny_config(*DATA, *FROZEN, frozen)
    captioner = build_captioner(stored["model"], Sizes(11, 0)).eval()
    data, images = build_data(stored["data"]), build_data(drawn["data"])
    check_features(stored, data, captioner.encoder)
    one, other = next(iter(data.val_dataloader())), next(iter(images.val_dataloader()))
    assert isinstance(one.images, Memory)
    assert one.image_ids == other.image_ids
    seen, expected = captioner.encode(one.images), captioner.encode(other.images)
    torch.testing.assert_close(seen.slots, expected.slots)
    torch.testing.assert_close(seen.pooled, expected.pooled)


def test_the_gallery_of_a_run_from_a_store_shows_where_it_looked(tmp_path: Path, frozen: str):
    own = [*DATA, *FROZEN, frozen, "data.fit=crop", "data.source.train_size=40"]
    extract([*own, f"out={tmp_path / 'store'}"])
    short = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "meteor=false", "samples=0"]
    features = f"data.features={tmp_path / 'store'}"
    run_train(tmp_path, *own, *short, features, "decoding=greedy", "hydra.run.dir=run")
    page = (tmp_path / "run" / "gallery.html").read_text()
    captions = json.loads((tmp_path / "run" / "captions.json").read_text())
    words = sum(len(entry["caption"].split()) for entry in captions)
    assert words > 0
    assert len(re.findall(r"<li><span><img ", page)) == words
    assert "not shown" not in page
    assert f", seen through {tmp_path / 'store'}</dd>" in page


def test_what_does_not_fit_is_refused(tmp_path: Path, frozen: str, capsys):
    extract([*DATA, *FROZEN, frozen, f"out={tmp_path / 'store'}", "splits=train"])
    features = f"data.features={tmp_path / 'store'}"
    other = tiny_config(*DATA, *FROZEN, features)
    data = build_data(other["data"])
    encoder = build_captioner(other["model"], Sizes(11, 0)).encoder
    with pytest.raises(UserError, match=r"weights is \w+ in the store and \w+ here"):
        check_features(other, data, encoder)
    learning = build_captioner(tiny_config(*DATA, features)["model"], Sizes(11, 0)).encoder
    with pytest.raises(UserError, match=r"model\.encoder\.trainable=none"):
        check_features(other, data, learning)
    with pytest.raises(UserError, match="4 images of the split 'val'"):
        data.records("val")
    for place in ("s3://b/store", str(tmp_path / "store" / "key.json")):
        with pytest.raises(UserError, match=f"^out={place}"):
            extract([*DATA, f"out={place}"])
    with pytest.raises(UserError, match="dtype=float8: did you mean"):
        extract([*DATA, "dtype=float8"])
    with pytest.raises(UserError, match=r"data\.blank_images=true changes images"):
        build_data(tiny_config(*DATA, features, "data.blank_images=true")["data"])


def test_the_key_follows_weights_and_transform_alone(frozen: str):
    one = tiny_config(*DATA, frozen)
    encoder = build_captioner(one["model"], Sizes(11, 0)).encoder
    same = tiny_config(*DATA, *FROZEN, frozen)
    assert fingerprint(encoder, one) == fingerprint(encoder, same)
    crop = tiny_config(*DATA, frozen, "data.fit=crop")
    assert fingerprint(encoder, one) != fingerprint(encoder, crop)


def test_an_encoder_that_tells_its_architecture_has_one_key():
    pytest.importorskip("transformers")
    parts = "model_type:vit,hidden_size:8,num_hidden_layers:1,num_attention_heads:2,patch_size:16"
    one = tiny_config(
        "model/encoder=hf_clip_vit_b_32",
        "model.encoder.weights=null",
        f"model.encoder.architecture={{{parts},intermediate_size:8,image_size:32}}",
        "model.encoder.image_size=32",
    )
    captioner = build_captioner(one["model"], Sizes(11, 0))
    extracted = fingerprint(captioner.encoder, one)
    keep_architectures(one["model"], captioner)  # as a run does before it compares
    assert fingerprint(captioner.encoder, one) == extracted


def test_a_model_without_an_encoder_says_so():
    with pytest.raises(UserError, match=r"data\.features=PATH"):
        StoredEncoder(dim=8)(torch.zeros(1, 3, 4, 4))


def test_a_key_tells_layers_apart_and_nothing_where_there_is_no_choice():
    def key(*overrides: str) -> object:
        torch.manual_seed(0)
        config = tiny_config(*DATA, *overrides)
        return fingerprint(build_captioner(config["model"], Sizes(11, 0)).encoder, config)[
            "encoder"
        ]

    # as a store of before the option has it
    assert "layers" not in key()
    assert key("model.encoder.layers=[-1]") == key()
    assert key("model.encoder.layers=[-2,-1]") != key()
    assert key("model.encoder.layers=[1,2]") == key("model.encoder.layers=[-2,-1]")
    assert key("model.encoder.layers=[-1,-2]") != key("model.encoder.layers=[-2,-1]")


class OwnEncoder(torch.nn.Module):
    """Of a user's own, who calls something else layers."""


def test_a_key_tells_layers_of_an_encoder_of_ones_own_apart():
    def key(layers: list[int] | None) -> dict[str, object]:
        node = {"_target_": f"{__name__}.OwnEncoder", "layers": layers}
        return fingerprint(OwnEncoder(), {"model": {"encoder": node}, "data": {"fit": "crop"}})

    assert len({str(key(layers)) for layers in (None, [1], [2])}) == 3


def save_tower(folder: Path) -> None:
    """Save a small image tower of CLIP with its projection, as the library does."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    images = {"num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": 10}
    config = transformers.CLIPVisionConfig(**sizes, **images)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)


def test_a_run_from_stored_layers_and_embeddings_is_that_from_images(tmp_path: Path, capsys):
    save_tower(tmp_path / "tower")
    reads = ["model.encoder.layers=[-2,-1]", "model.encoder.pooled=projection"]
    tower = ["model/encoder=hf_clip_vit_b_32", f"model.encoder.name={tmp_path / 'tower'}"]
    own = ["model=attn_lstm", *tower, *reads, *DATA, *FROZEN]
    extract([*own, f"out={tmp_path / 'store'}", "dtype=float32"])
    assert "24 images of 16 x 32 slots and a vector of 10," in capsys.readouterr().out
    memory = FeatureStore(tmp_path / "store").read(
        json.loads((tmp_path / "store" / "shard-00000.json").read_text())["ids"][0]
    )
    assert memory.slots.shape == (16, 32)
    assert memory.pooled.shape == (10,)
    short = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "meteor=false", "samples=0"]
    small = ["model.decoder.hidden=16", "model.decoder.embedding=16", "model.attention.width=8"]
    scores = []
    for features in (f"{tmp_path / 'store'}", "null"):
        name = "stored" if features != "null" else "images"
        run_train(
            tmp_path,
            *own,
            *short,
            *small,
            f"data.features={features}",
            "decoding=greedy",
            f"hydra.run.dir={name}",
        )
        checkpoint = next((tmp_path / name / "checkpoints").glob("best*.ckpt"))
        scores.append(load_captioner(checkpoint))
    stored, images = (loaded.captioner.state_dict() for loaded in scores)
    torch.testing.assert_close(stored, images, atol=1e-4, rtol=1e-3)
