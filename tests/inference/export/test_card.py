"""The card says what the checkpoint holds, and nothing that nobody stated."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from captionlab.inference.export.card import render_card
from captionlab.inference.export.card_facts import CardFacts, Measured

CONFIG = {
    "model": {
        "name": "tiny",
        "paper": "Xu et al. 2015",
        "encoder": {"_target_": "captionlab.models.encoders.SmallCNN", "blocks": 1},
        "decoder": {"_target_": "captionlab.models.decoders.rnn_decoder", "hidden": 8},
        "attention": {"_target_": "captionlab.models.attention.DotAttention"},
    },
    "data": {"name": "flickr8k", "language": "en", "root": "/home/ada/photos"},
    "decoding": {"_target_": "captionlab.decoding.Beam", "beam_size": 3},
}
MEASURED = Measured({"test/cider": 0.61, "test/bleu_4": 0.2}, {"test/cider": (0.55, 0.68)})


def card(**changes: Any) -> str:
    facts = {
        "config": CONFIG,
        "format": "safetensors",
        "precision": "float32",
        "trained_on": {
            "name": "flickr8k",
            "origin": "/home/ada/photos",
            "splits": {"train": {"images": 6000, "captions": 30000, "digest": "abc123"}},
        },
        "validation": {"cider": 0.59},
        "epochs": 7,
        "parameters": 1234567,
        "vocabulary": 100,
        "languages": [],
        "image": {"size": 224, "fit": "crop"},
        "versions": {"captionlab": "0.1.0"},
        "measured": MEASURED,
    }
    return render_card(CardFacts(**{**facts, **changes}))


def front(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize("form", ["onnx", "safetensors", "torch"])
def test_each_format_has_its_card(form: str):
    text = card(format=form)
    assert front(text)["tags"] == ["image-captioning", "captionlab", form]
    runner = {"onnx": "python caption.py", "torch": "python caption_torch.py"}
    assert runner.get(form, "captionlab predict") in text


def test_the_hub_reads_the_front_matter():
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(card(license="apache-2.0")).data
    assert (data.license, data.language, data.pipeline_tag) == (
        "apache-2.0",
        ["en"],
        "image-to-text",
    )
    values = {one.metric_type: one.metric_value for one in data.eval_results}
    assert values == {"cider": 0.61, "bleu_4": 0.2}


def test_data_scores_and_intervals_are_there():
    text = card()
    assert "| train | 6,000 images, 30,000 captions, fingerprint abc123 |" in text
    assert "| cider | 0.590 | 0.610 (0.550 to 0.680) |" in text
    assert "| parameters | 1,234,567 |" in text
    assert "| trained for | 7 epochs |" in text


def test_no_license_is_invented():
    assert "license" not in front(card())
    assert "\nNot stated." in card()


def test_a_license_of_ones_own_is_another_one_to_the_hub():
    text = card(license="Ask Ada (2026)")
    assert front(text)["license"] == "other"
    assert front(text)["license_name"] == "ask-ada-2026-"
    assert "Ask Ada (2026)." in text


@pytest.mark.parametrize(("data", "drawn"), [("flickr8k", False), ("shapes", True)])
def test_what_learned_from_drawn_shapes_says_so(data: str, drawn: bool):
    text = card(trained_on={"name": data}, config={**CONFIG, "data": {"name": data}})
    assert ("do not describe photographs" in text) == drawn
    assert "Not for identifying people" in text
    assert "Never the sole aid" in text


def test_scores_of_other_weights_are_called_so():
    assert "measured in float32, before the weights became int8" in card(precision="int8")


def test_no_folder_of_this_machine_stands_in_it():
    assert "/home/ada" not in card()


def test_what_a_file_says_cannot_become_markup():
    evil = "a\n# title <script>alert(1)</script> | [x](javascript:y) `z`"
    config = {**CONFIG, "model": {**CONFIG["model"], "name": evil, "paper": evil}}
    text = card(config=config, trained_on={"name": evil, "splits": {evil: {"digest": evil}}})
    body = text.split("---\n", 2)[2]
    assert "\n# title" not in body
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert "[x](" not in body


def test_a_checkpoint_that_knows_nothing_has_a_card():
    text = card(trained_on={}, validation={}, epochs=0, measured=Measured())
    assert "unknown: the checkpoint holds none" in text
    assert "Not measured" in text
    assert "model-index" not in front(text)
