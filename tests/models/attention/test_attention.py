import math

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.additive import AdditiveAttention, GatedAdditiveAttention
from captionlab.models.attention.dot import DotAttention

KINDS = [AdditiveAttention, GatedAdditiveAttention, DotAttention]


def _memory(images=2, slots=5, width=6, dtype=torch.double, real=(5, 2)):
    torch.manual_seed(0)
    values = torch.randn(images, slots, width, dtype=dtype)
    mask = torch.arange(slots) < torch.tensor(real)[:, None]
    return Memory(values, values.mean(1), mask)


def _built(kind, dtype=torch.double):
    torch.manual_seed(1)
    return kind(7, query_dim=4, memory_dim=6).to(dtype)


def test_additive_attention_follows_the_papers_equations():
    attention, memory = _built(AdditiveAttention).requires_grad_(False), _memory()
    query = torch.randn(2, 3, 4, dtype=torch.double)
    context, weights = attention(query, attention.keys(memory), memory)
    w, b, u = attention.query.weight, attention.query.bias, attention.key.weight
    for image, real in ((0, 5), (1, 2)):
        for asked in range(3):
            energies = [
                sum(
                    attention.score[a] * math.tanh(w[a] @ query[image, asked] + b[a] + u[a] @ slot)
                    for a in range(7)
                )
                for slot in memory.slots[image, :real]
            ]
            total = sum(math.exp(energy) for energy in energies)
            expected = torch.tensor([math.exp(energy) / total for energy in energies])
            torch.testing.assert_close(weights[image, asked, :real], expected.double())
            seen = sum(p * slot for p, slot in zip(expected, memory.slots[image], strict=False))
            torch.testing.assert_close(context[image, asked], seen)


def test_gate_scales_the_context_and_leaves_the_weights_alone():
    attention, memory = _built(GatedAdditiveAttention), _memory()
    query = torch.randn(2, 3, 4, dtype=torch.double)
    context, weights = attention(query, attention.keys(memory), memory)
    gate = torch.sigmoid(query @ attention.gate.weight.T + attention.gate.bias)
    torch.testing.assert_close(context, gate * (weights @ memory.slots))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, dtype=torch.double))


def test_dot_attention_equals_torchs_scaled_dot_product():
    attention, memory = _built(DotAttention), _memory()
    query = torch.randn(2, 3, 4, dtype=torch.double)
    context, _ = attention(query, attention.keys(memory), memory)
    expected = torch.nn.functional.scaled_dot_product_attention(
        attention.query(query), attention.keys(memory), memory.slots, memory.mask[:, None]
    )
    torch.testing.assert_close(context, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_right(kind):
    attention, memory = _built(kind), _memory()
    query = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    parameters = list(attention.parameters())

    def look(query, slots, *_):
        seen = Memory(slots, slots.mean(1), memory.mask)
        return attention(query, attention.keys(seen), seen)

    slots = memory.slots.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(look, (query, slots, *parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_slots_that_are_not_real_change_nothing(kind):
    attention, memory = _built(kind), _memory()
    query = torch.randn(2, 3, 4, dtype=torch.double)
    context, weights = attention(query, attention.keys(memory), memory)
    assert (weights[1, :, 2:] == 0).all()
    memory.slots[1, 2:] = 1e3
    again, _ = attention(query, attention.keys(memory), memory)
    torch.testing.assert_close(again, context)


@pytest.mark.parametrize("kind", KINDS)
def test_image_without_a_real_slot_is_refused(kind):
    with pytest.raises(UserError, match="1 of 2 images have no real slot"):
        _built(kind).keys(_memory(real=(5, 0)))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_another_width_is_refused(kind):
    with pytest.raises(UserError, match=r"memory is 8 wide .* built for width 6"):
        _built(kind).keys(_memory(width=8))


def test_attention_without_width_is_refused():
    with pytest.raises(UserError, match="width=0"):
        AdditiveAttention(0, query_dim=4, memory_dim=6)


def test_attention_is_as_wide_as_the_decoder_by_default():
    assert AdditiveAttention(query_dim=4, memory_dim=6).key.out_features == 4
