"""Every recurrent preset in bfloat16, under autocast and with int8 weights."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from captionlab.core.memory import Memory
from captionlab.decoding import Beam, Greedy
from captionlab.models.decoders.recurrent.decoder import RecurrentDecoder
from captionlab.objectives.likelihood.cross_entropy import CrossEntropy
from tests_support import tiny_preset

IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
RECURRENT = (
    "adaptive", "aoa", "att2in", "attn_gru", "attn_lstm", "cvae", "hard_attn", "show_tell", "updown",
)  # fmt: skip


@pytest.fixture(params=RECURRENT, scope="module")
def built(request: pytest.FixtureRequest):
    built = tiny_preset(request.param)
    assert isinstance(built.decoder, RecurrentDecoder)
    return built


@pytest.fixture
def model(built):
    return copy.deepcopy(built)


def batch(width: int) -> SimpleNamespace:
    torch.manual_seed(0)
    slots = torch.randn(3, 5, width)
    mask = torch.arange(5) < torch.tensor([5, 2, 4])[:, None]
    tokens = torch.tensor([[[1, 4, 5, 6, 2], [1, 7, 2, 0, 0]]] * 3)
    return SimpleNamespace(
        images=Memory(slots, slots.mean(1), mask),
        tokens=tokens,
        lengths=(tokens != 0).sum(-1),
        prompts=None,
    )


def trained(model, data) -> tuple[float, torch.Tensor]:
    """The loss, and the gradients of the decoder in one vector."""
    torch.manual_seed(1)
    loss, _ = CrossEntropy()(model, data)
    parameters = [p for p in model.decoder.parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return loss.item(), torch.cat([g.flatten().float() for g in grads if g is not None])


@pytest.mark.parametrize("weights", [False, True], ids=["autocast", "weights"])
def test_bfloat16_decodes_and_learns_near_single_precision(model, weights):
    data = batch(model.encoder.dim)
    loss, grads = trained(model, data)
    if weights:
        model.to(torch.bfloat16)
    with nullcontext() if weights else torch.autocast("cpu", torch.bfloat16):
        near, near_grads = trained(model, data)
        memory = model.encode(data.images)
        for method in (Greedy(max_length=4), Beam(beam_size=3, max_length=4)):
            assert method(model, memory, **IDS).log_probs.isfinite().all()
    assert near == pytest.approx(loss, rel=0.02)
    assert torch.cosine_similarity(grads, near_grads, dim=0) > 0.98


# torch.ao is to move to another package; nothing else quantizes without one
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_int8_linear_layers_decode_near_single_precision(model):
    memory = batch(model.encoder.dim).images
    token, state = torch.full((3, 2), 1), model.init_state(memory, 2)
    quantized = torch.ao.quantization.quantize_dynamic(model.decoder, {nn.Linear}, torch.qint8)
    assert not any(type(part) is nn.Linear for part in quantized.modules())
    quantized_state = quantized.init_state(memory, 2)
    for _ in range(3):
        logits, state = model.step(token, state)
        near, quantized_state = quantized.step(token, quantized_state)
        torch.testing.assert_close(near, logits, atol=0.1, rtol=0.1)
        token = logits.argmax(-1)
    model.decoder = quantized
    assert Greedy(max_length=4)(model, memory, **IDS).lengths.min() >= 1


def test_slots_are_cast_once_a_search_under_autocast(model):
    memory = model.encode(batch(model.encoder.dim).images)
    assert model.init_state(memory, 1).memory.slots.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert model.init_state(memory, 1).memory.slots.dtype == torch.bfloat16
