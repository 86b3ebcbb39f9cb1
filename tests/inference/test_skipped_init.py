"""What is built to be overwritten: no random numbers are drawn, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.skipped_init import SkippedInit
from captionlab.inference.weights import captioner_of
from captionlab.models.decoders.transformer.layers import sinusoids

FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"


def test_parameters_draw_nothing_and_other_tensors_do():
    torch.manual_seed(0)
    buffer = torch.randn(3)
    after = torch.rand(1)
    torch.manual_seed(0)
    with SkippedInit():
        layers = [nn.Linear(4, 4), nn.Conv2d(3, 3, 3), nn.Embedding(5, 2, padding_idx=0)]
        nn.init.xavier_normal_(layers[0].weight)
        assert torch.equal(torch.randn(3), buffer)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(layers[2].weight[0], torch.zeros(2))  # not random, so as ever


def test_shapes_on_the_meta_device_are_those_of_torch():
    with torch.device("meta"):
        tables = [sinusoids(7, 10), torch.randn(2, 3) * 0.1, torch.arange(4) / 2]
        with SkippedInit():
            outlined = [sinusoids(7, 10), torch.randn(2, 3) * 0.1, torch.arange(4) / 2]
    for table, outline in zip(tables, outlined, strict=True):
        assert outline.is_meta
        assert (outline.shape, outline.dtype) == (table.shape, table.dtype)


@pytest.mark.parametrize("name", ["gpt2", "latent", "m2", "updown"])
def test_nothing_that_is_in_no_file_stays_uninitialized(name, monkeypatch):
    """Tables of positions and the like are computed: beside them, memory is filled with NaN."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    checkpoint = read_checkpoint(FIXTURES / f"{name}.ckpt")
    torch.use_deterministic_algorithms(True)
    try:
        drawn, skipped = (captioner_of(checkpoint, keeps_draws=keeps) for keeps in (True, False))
    finally:
        torch.use_deterministic_algorithms(False)
    for part in ("named_parameters", "named_buffers"):  # buffers that are not saved among them
        expected, own = dict(getattr(drawn, part)()), dict(getattr(skipped, part)())
        assert expected.keys() == own.keys()
        assert [name for name in own if not torch.equal(own[name], expected[name])] == []
