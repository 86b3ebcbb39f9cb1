"""Transformer captioners against torch's own layers and against the papers' equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.models.attention.additive import AdditiveAttention
from captionlab.models.attention.base import NoAttention
from captionlab.models.attention.multi_head import MultiHeadAttention
from captionlab.models.decoders.transformer.decoder import DecoderLayer, TransformerDecoder
from captionlab.models.decoders.transformer.layers import EncoderLayer, multi_head, sinusoids
from captionlab.models.packed_rows import PackedRows

SIZES = {"heads": 2, "inner": 12, "dropout": 0.0}
MASK = torch.tensor([[True, True, True, False], [True] * 4])


def make(**values) -> TransformerDecoder:
    torch.manual_seed(0)
    nothing = NoAttention(query_dim=8, memory_dim=6)
    sizes = {"hidden": 8, "heads": 2, "layers": 2, "encoder_layers": 2, "feed_forward": 12}
    sizes |= {"max_length": 9, "vocabulary_size": 11, "pad_id": 0, "memory_dim": 6}
    return TransformerDecoder(**{**sizes, **values}, attention=nothing).eval()


def a_memory() -> Memory:
    slots = torch.randn(2, 4, 6)
    return Memory(slots, slots.mean(1), MASK)


def copy_attention(theirs: nn.MultiheadAttention, ours: MultiHeadAttention) -> None:
    parts = (ours.query, ours.key, ours.value)
    for part, weight, bias in zip(
        parts, theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True
    ):
        part.weight.data, part.bias.data = weight.data.clone(), torch.randn_like(bias)
        bias.data.copy_(part.bias.data)
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def copy_rest(theirs: nn.Module, ours: nn.Module) -> None:
    ours.feed_forward[0].load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward[3].load_state_dict(theirs.linear2.state_dict())


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_encoder_layer_equals_torchs(norm: str):
    torch.manual_seed(1)
    theirs = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=norm == "pre")
    ours = EncoderLayer(8, norm=norm, **SIZES)
    copy_attention(theirs.self_attn, ours.attention)
    copy_rest(theirs, ours)
    slots = torch.randn(2, 4, 8)
    expected = theirs(slots, src_key_padding_mask=~MASK)
    torch.testing.assert_close(ours(slots, MASK)[MASK], expected[MASK])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_decoder_layer_equals_torchs(norm: str):
    torch.manual_seed(2)
    theirs = nn.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True, norm_first=norm == "pre")
    ours = DecoderLayer(8, norm=norm, **SIZES)
    copy_attention(theirs.self_attn, ours.self_attention)
    copy_attention(theirs.multihead_attn, ours.cross_attention)
    copy_rest(theirs, ours)
    words, slots = torch.randn(2, 5, 8), torch.randn(2, 4, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    expected = theirs(words, slots, causal, memory_key_padding_mask=~MASK)
    rows = PackedRows(torch.Size([2, 1, 5]))
    seen, _ = ours.attend_words(words.flatten(0, 1), rows, None)
    for weigh in (True, False):
        found, _ = ours.attend_memory(seen, rows, ours.project([slots]), MASK, weigh)
        torch.testing.assert_close(found, expected.flatten(0, 1))


def test_weights_are_torchs_mean_over_the_heads():
    theirs, ours = nn.MultiheadAttention(8, 2, batch_first=True), multi_head(8, 2)
    copy_attention(theirs, ours)
    queries, slots = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    expected = theirs(queries, slots, slots, key_padding_mask=~MASK)
    found = ours.attend_with_weights(queries, ours.project(slots), MASK)
    torch.testing.assert_close(found, expected)


def test_memory_slots_are_further_keys_as_in_m2():
    """Cornia et al. 2020, equation 3: K = [W_k X, M_k], V = [W_v X, M_v], one head at a time."""
    torch.manual_seed(4)
    layer = multi_head(8, 2, memory_slots=3)
    slots, size = torch.randn(1, 4, 8), 4
    found = layer.attend(slots, layer.project(slots))
    heads = []
    for head in range(2):
        part = slice(head * size, (head + 1) * size)
        q, k, v = (f(slots)[0, :, part] for f in (layer.query, layer.key, layer.value))
        k = torch.cat([k, math.sqrt(size) * layer.memory_keys[head]])
        v = torch.cat([v, math.sqrt(3) * layer.memory_values[head]])
        heads.append((q @ k.T / math.sqrt(size)).softmax(-1) @ v)
    torch.testing.assert_close(found[0], layer.output(torch.cat(heads, -1)))


def test_the_mesh_adds_gated_looks_at_every_encoder_layer():
    """Cornia et al. 2020, equations 5 to 7."""
    torch.manual_seed(5)
    layer = DecoderLayer(8, norm="post", levels=2, **SIZES)
    x, slots = torch.randn(2, 3, 8), [torch.randn(2, 4, 8), torch.randn(2, 4, 8)]
    total = 0
    for level, gate in zip(slots, layer.gates, strict=True):
        seen = layer.cross_attention.attend(x, layer.cross_attention.project(level), mask=MASK)
        total = total + gate(torch.cat([x, seen], -1)).sigmoid() * seen
    y = layer.around_cross.norm(x + total / math.sqrt(2))
    expected = layer.around_feed_forward.norm(y + layer.feed_forward(y))
    rows = PackedRows(torch.Size([2, 1, 3]))
    found, _ = layer.attend_memory(x.flatten(0, 1), rows, layer.project(slots), MASK, True)
    torch.testing.assert_close(found, expected.flatten(0, 1))


def test_sinusoids_are_the_papers_formula():
    table = sinusoids(7, 6)
    for place, column in ((0, 0), (3, 2), (6, 5)):
        angle = place / 10_000 ** (2 * (column // 2) / 6)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert float(table[place, column]) == pytest.approx(expected, abs=1e-6)


def test_gradients_are_right():
    decoder = make(meshed=True, memory_slots=2, norm="post", layers=1).double()
    tokens = torch.tensor([[[1, 4, 5, 0]], [[1, 6, 7, 8]]])

    def hidden(slots: torch.Tensor) -> torch.Tensor:
        return decoder(Memory(slots, slots.mean(1), MASK), tokens).hidden[:, :, :3]

    slots = torch.randn(2, 4, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(hidden, (slots,))


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match="model/attention=none"):
        TransformerDecoder(
            vocabulary_size=9,
            pad_id=0,
            memory_dim=6,
            attention=AdditiveAttention(query_dim=8, memory_dim=6),
        )
    with pytest.raises(UserError, match="hidden=8 cannot be divided into heads=3"):
        make(heads=3)
    with pytest.raises(UserError, match="did you mean 'post'"):
        make(norm="pots")
    with pytest.raises(UserError, match=r"model\.decoder\.max_length=9"):
        make()(a_memory(), torch.ones(2, 1, 10, dtype=torch.long))


@pytest.mark.parametrize("meshed", [True, False])
def test_padding_that_is_not_computed_changes_no_loss_and_no_gradient(meshed, monkeypatch):
    decoder = make(meshed=meshed, memory_slots=2 * meshed).double()
    memory = a_memory().each(lambda part: part.double() if part.is_floating_point() else part)
    tokens = torch.tensor([[[1, 4, 5, 6], [1, 7, 0, 0]], [[1, 8, 9, 0], [0, 0, 0, 0]]])
    real = tokens != 0

    def computed() -> list[torch.Tensor]:
        decoder.zero_grad()
        hidden, weights, *_ = decoder(memory, tokens)
        assert hidden.isfinite().all()
        assert weights.isfinite().all()
        decoder.logits(hidden[real]).logsumexp(-1).sum().backward()
        gradients = [p.grad for p in decoder.parameters() if p.grad is not None]
        return [hidden[real], weights[real], *gradients]

    packed = computed()
    monkeypatch.setattr(PackedRows, "of", lambda tokens, pad_id: PackedRows(tokens.shape))
    torch.testing.assert_close(packed, computed())


def test_a_memory_without_padding_needs_no_mask():
    decoder = make(memory_slots=2, meshed=True)
    memory = a_memory()
    whole = Memory(memory.slots, memory.pooled, torch.ones_like(memory.mask))
    wider = Memory(
        torch.cat([memory.slots, torch.randn(2, 1, 6)], 1),
        memory.pooled,
        torch.cat([whole.mask, torch.zeros(2, 1, dtype=torch.bool)], 1),
    )
    assert whole.mask_of_some() is None
    assert wider.mask_of_some() is wider.mask
    tokens = torch.tensor([[[1, 4, 5]], [[1, 7, 3]]])
    torch.testing.assert_close(decoder(whole, tokens).hidden, decoder(wider, tokens).hidden)


def test_attention_with_dropout_is_torchs_where_nothing_drops_out():
    """With dropout a CPU computes the softmax itself; a chance that drops nothing shows it is right."""
    torch.manual_seed(6)
    layer = multi_head(8, 2, dropout=1e-9)
    x = torch.randn(2, 5, 8)
    for options in ({"causal": True}, {"mask": torch.rand(2, 5) < 0.7}, {}):
        trained = layer.train().attend(x, layer.project(x), **options)
        torch.testing.assert_close(trained, layer.eval().attend(x, layer.project(x), **options))
