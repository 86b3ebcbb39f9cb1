"""What no decoder reads does not learn, and all that learns has a gradient."""

from __future__ import annotations

import pytest
import torch

from captionlab.models.captioner import Captioner
from tests_support import tiny_captioner, tiny_preset

LINEAR = ("model/connector=linear", "model.connector.width=16")


def without_gradient(captioner: Captioner) -> set[str]:
    """Return the encoder's and connector's parameters that learn and have no gradient in a step."""
    side = captioner.encoder.image_size
    memory = captioner.encode(torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8))
    captioner.decoder(memory, torch.tensor([[[1, 4]], [[1, 5]]])).hidden.sum().backward()
    return {
        name
        for name, parameter in captioner.named_parameters()
        if not name.startswith("decoder.") and parameter.requires_grad and parameter.grad is None
    }


@pytest.mark.parametrize("preset", ["att2in", "transformer", "aoa", "attn_lstm", "show_tell"])
def test_all_of_a_connector_that_learns_has_a_gradient(preset: str):
    captioner = tiny_preset(preset, *LINEAR)
    assert without_gradient(captioner) == set()
    assert any(parameter.requires_grad for parameter in captioner.connector.parameters())


def test_layers_behind_those_that_are_read_do_not_learn():
    captioner = tiny_captioner("model.encoder.layers=[0]", "model.encoder.channels=[4,8]")
    assert without_gradient(captioner) == set()
    frozen = {n for n, p in captioner.encoder.named_parameters() if not p.requires_grad}
    assert frozen
    assert not any(name.startswith(("layers.0.", "positions")) for name in frozen)
    assert all(module.training for module in captioner.encoder.modules())


def test_without_the_options_everything_learns_as_ever():
    assert all(
        p.requires_grad
        for p in tiny_captioner("model=transformer", "model/encoder=small_cnn").parameters()
    )
