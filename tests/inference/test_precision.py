"""Captions computed in bfloat16: every preset, and what is said of a CPU that has none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding import Beam, Greedy
from captionlab.inference.precision import computing, require_precision
from tests_support import PRESETS, tiny_preset

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_writes_in_bfloat16(preset: str):
    model = tiny_preset(preset, vocabulary=8)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    for method in (Greedy(max_length=4), Beam(beam_size=2, max_length=4)):
        with computing("bf16", "cpu"), torch.inference_mode():
            memory = model.encode(images)
            found = method(model, memory, **IDS)
        assert isinstance(memory, Memory)
        assert found.tokens.shape[:2] == (2, 1)
        assert bool(((found.tokens >= 0) & (found.tokens < 8)).all())
        assert bool(found.scores.isfinite().all())
        assert found.weights is None or bool(found.weights.isfinite().all())


def test_float32_computes_as_without_a_context():
    model = tiny_preset("transformer", vocabulary=8)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        plain = model.encode(images).slots
        with computing("32", "cpu"):
            assert torch.equal(model.encode(images).slots, plain)
        with computing("bf16", "cpu"):
            assert not torch.equal(model.encode(images).slots, plain)


@pytest.mark.parametrize("has", [True, False])
def test_a_cpu_without_bfloat16_is_named(has: bool, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has, "avx2": True})
    computing("bf16", "cpu")
    computing("32", "cpu")
    assert capsys.readouterr().err.count("slower") == (not has)


def test_graphs_of_an_export_refuse_bfloat16():
    graphs = nn.Module()  # stands for OnnxCaptioner, which is no Captioner
    require_precision("32", [graphs])
    require_precision("bf16", [tiny_preset("transformer", vocabulary=8)])
    with pytest.raises(UserError, match="ONNX"):
        require_precision("bf16", [tiny_preset("transformer", vocabulary=8), graphs])
