"""Attention families and recurrent captioners against plain loops of their papers' equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.adaptive import AdaptiveAttention
from captionlab.models.attention.attention_on_attention import AttentionOnAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.hard import HardAttention
from captionlab.models.attention.multi_head import MultiHeadAttention
from tests_support import tiny_preset

MASK = torch.tensor([[True, True, True, False], [True] * 4])


def a_memory(width: int = 6) -> Memory:
    torch.manual_seed(1)
    slots = torch.randn(2, 4, width)
    return Memory(slots, slots.mean(1), MASK)


def test_multi_head_equals_torchs():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    ours = MultiHeadAttention(2, query_dim=8, memory_dim=6)
    for part, name in ((ours.query, "q"), (ours.key, "k"), (ours.value, "v")):
        part.weight.data = getattr(theirs, f"{name}_proj_weight").data
    for part, bias in zip(
        (ours.query, ours.key, ours.value), theirs.in_proj_bias.chunk(3), strict=True
    ):
        part.bias.data = bias.data
    ours.output.load_state_dict(theirs.out_proj.state_dict())
    memory, query = a_memory(), torch.randn(2, 3, 8)
    expected = theirs(query, memory.slots, memory.slots, key_padding_mask=~MASK)
    torch.testing.assert_close(ours(query, ours.keys(memory), memory), expected)


def test_attention_on_attention_is_information_times_gate():
    """Huang et al. 2019, equations 3 to 6."""
    layer = AttentionOnAttention(2, query_dim=8, memory_dim=6)
    query, found = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    both = torch.cat([query, found], -1)
    weight, bias = layer.output.weight, layer.output.bias
    information = both @ weight[:8].T + bias[:8]
    gate = torch.sigmoid(both @ weight[8:].T + bias[8:])
    torch.testing.assert_close(layer.project_output(query, found), information * gate)


def test_the_sentinel_is_one_more_place_to_look():
    """Lu et al. 2017, equations 6 to 12, one image and one query at a time."""
    layer, memory = AdaptiveAttention(5, query_dim=8, memory_dim=6), a_memory()
    query, sentinel = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    context, weights = layer.attend(query, layer.keys(memory), memory, sentinel)
    for b in range(2):
        values = layer.value(memory.slots[b, MASK[b]]).relu()
        for q in range(3):
            asked = layer.query(query[b, q])
            scores = [layer.score @ (layer.key(v) + asked).tanh() for v in values]
            scores.append(layer.score @ (layer.sentinel(sentinel[b, q]) + asked).tanh())
            share = torch.stack(scores).softmax(0)
            expected = share[:-1] @ values + share[-1] * sentinel[b, q]
            torch.testing.assert_close(context[b, q], expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(weights[b, q, MASK[b]], share[:-1], atol=1e-5, rtol=1e-5)


def test_hard_attention_draws_slots_as_often_as_their_weights_say():
    torch.manual_seed(0)
    layer = HardAttention(5, expected=0.0, query_dim=8, memory_dim=6).train()
    memory, query = a_memory(), torch.randn(2, 1, 8).expand(2, 4000, 8)
    context, weights, choice = layer(query, layer.keys(memory), memory)
    often = torch.stack([(choice == n).float().mean(1) for n in range(4)], -1)
    torch.testing.assert_close(often, weights[:, 0], atol=0.03, rtol=0)
    torch.testing.assert_close(context[1, 7], memory.slots[1, choice[1, 7]])


def test_hard_attention_evaluates_with_the_most_probable_slot():
    layer, memory = HardAttention(5, query_dim=8, memory_dim=6).eval(), a_memory()
    context, weights, choice = layer(torch.randn(2, 1, 8), layer.keys(memory), memory)
    assert choice.tolist() == weights.argmax(-1).tolist()
    torch.testing.assert_close(context[0, 0], memory.slots[0, choice[0, 0]])


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def hidden_of(name: str, tokens: list[int]):
    """The decoder of a preset, one image's memory, and what forward makes of the tokens."""
    decoder, memory = tiny_preset(name).decoder, a_memory(12)
    found = decoder(memory, torch.tensor(tokens).expand(2, 1, -1))
    return decoder, memory, found.hidden[1, 0]


def attend(decoder, query: Tensor, memory: Memory) -> Tensor:
    one = memory.take(torch.tensor([1]))
    return decoder.cell.attention(query.view(1, 1, -1), decoder.cell.attention.keys(one), one)[0][
        0, 0
    ]


def test_updown_is_equations_1_to_7_of_its_paper():
    tokens = [1, 4, 5, 6]
    decoder, memory, found = hidden_of("updown", tokens)
    h1 = c1 = h2 = c2 = torch.zeros(16)
    for t, token in enumerate(tokens):
        word = decoder.words.weight[token]
        first = decoder.cell.top_down
        gates = first.word(word) + decoder.cell.image(memory.pooled[1])
        h1, c1 = lstm(gates + first.recurrent.weight @ torch.cat([h2, h1]), c1)
        context = attend(decoder, h1, memory)
        second = decoder.cell.language
        gates = second.word(h1) + second.recurrent.weight @ torch.cat([context, h2])
        h2, c2 = lstm(gates, c2)
        torch.testing.assert_close(found[t], h2, atol=1e-5, rtol=1e-5)


def test_att2in_lets_the_context_into_the_cell_alone():
    """Rennie et al. 2017, section 2.2."""
    tokens = [1, 4, 5, 6]
    decoder, memory, found = hidden_of("att2in", tokens)
    h = c = torch.zeros(16)
    for t, token in enumerate(tokens):
        context = attend(decoder, h, memory)
        sums = (
            decoder.cell.word(decoder.words.weight[token].relu())
            + decoder.cell.recurrent.weight @ h
        )
        i, f, o, first, second = sums.chunk(5)
        from_context = decoder.cell.context(context).chunk(2)
        new = torch.maximum(first + from_context[0], second + from_context[1])
        c = f.sigmoid() * c + i.sigmoid() * new
        h = o.sigmoid() * c.tanh()
        torch.testing.assert_close(found[t], h, atol=1e-5, rtol=1e-5)


def test_aoa_scores_words_by_the_context_alone():
    """Huang et al. 2019, section 3.2.2, on the refined memory."""
    tokens = [1, 4, 5, 6]
    decoder, memory, found = hidden_of("aoa", tokens)
    refined = decoder.cell.refine(memory)
    h = c = context = torch.zeros(16)
    for t, token in enumerate(tokens):
        seen = torch.cat([context + refined.pooled[1], h])
        gates = (
            decoder.cell.lstm.word(decoder.words.weight[token])
            + decoder.cell.lstm.recurrent.weight @ seen
        )
        h, c = lstm(gates, c)
        context = attend(decoder, h, refined)
        torch.testing.assert_close(found[t], context, atol=1e-5, rtol=1e-5)


def test_adaptive_scores_words_by_context_and_state():
    """Lu et al. 2017, equations 4, 5, 9 to 13."""
    tokens = [1, 4, 5, 6]
    decoder, memory, found = hidden_of("adaptive", tokens)
    one, h, c = memory.take(torch.tensor([1])), torch.zeros(16), torch.zeros(16)
    keys = decoder.cell.attention.keys(one)
    for t, token in enumerate(tokens):
        seen = decoder.cell.from_image(decoder.cell.image(memory.pooled[1]).relu())
        sums = (
            decoder.cell.word(decoder.words.weight[token])
            + seen
            + decoder.cell.recurrent.weight @ h
        )
        h, c = lstm(sums[:64], c)
        sentinel = sums[64:].sigmoid() * c.tanh()
        context, _ = decoder.cell.attention.attend(
            h.view(1, 1, -1), keys, one, sentinel.view(1, 1, -1)
        )
        torch.testing.assert_close(found[t], context[0, 0] + h, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["att2in", "updown", "adaptive", "aoa"])
def test_gradients_are_right(name: str):
    decoder = tiny_preset(
        name, "model.decoder.hidden=4", "model.decoder.embedding=3"
    ).decoder.double()
    tokens = torch.tensor([[[1, 4, 5]], [[1, 6, 0]]])

    def hidden(slots: Tensor) -> Tensor:
        return decoder(Memory(slots, slots.mean(1), MASK), tokens).hidden[:, :, :2]

    slots = torch.randn(2, 4, 12, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(hidden, (slots,), atol=1e-4)


def test_weights_gradients_equal_those_of_single_steps():
    """The loop's products are deferred; autograd through ``step`` is the plain way."""
    for name in ("att2in", "updown", "adaptive", "aoa"):
        decoder, memory = tiny_preset(name).decoder, a_memory(12)
        tokens = torch.tensor([[[1, 4, 5, 6]], [[1, 7, 8, 9]]])
        decoder.logits(decoder(memory, tokens).hidden).square().sum().backward()
        fast = {n: p.grad.clone() for n, p in decoder.named_parameters() if p.grad is not None}
        decoder.zero_grad()
        state, total = decoder.init_state(memory, 1), torch.zeros(())
        for t in range(4):
            logits, state = decoder.step(tokens[..., t], state)
            total = total + logits.square().sum()
        total.backward()
        for n, parameter in decoder.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(fast[n], parameter.grad, atol=1e-3, rtol=1e-3)


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="model/attention=adaptive"):
        tiny_preset("adaptive", "model/attention=additive")
    with pytest.raises(UserError, match="model=adaptive"):
        tiny_preset("attn_lstm", "model/attention=adaptive")
    with pytest.raises(UserError, match="looks at the image in every step"):
        tiny_preset("updown", "model/attention=none")
    with pytest.raises(UserError, match="heads=3"):
        MultiHeadAttention(3, query_dim=8, memory_dim=6)
    assert isinstance(tiny_preset("show_tell").decoder.cell, nn.Module)
    assert NoAttention(query_dim=1, memory_dim=1).doubly_stochastic == 0
