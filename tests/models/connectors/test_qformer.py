"""The Q-Former: what its queries read, behind which decoders, and from which checkpoints."""

import pytest
import torch
from torch import nn

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.connectors import QFormerConnector
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import PRESETS, tiny_config, tiny_preset

SIZES = {"num_queries": 3, "width": 16, "layers": 2, "heads": 2, "feed_forward": 24}
QFORMER = ("model/connector=qformer", *(f"model.connector.{k}={v}" for k, v in SIZES.items()))


def a_memory(dim: int = 6) -> Memory:
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    return Memory(torch.randn(2, 4, dim), torch.randn(2, dim), mask)


def qformer(**more) -> QFormerConnector:
    return QFormerConnector(**{**SIZES, "memory_dim": 6, **more}).eval()


def test_its_layer_is_torchs_own_decoder_layer():
    layer = qformer(layers=1).slots.layers[0]
    theirs = nn.TransformerDecoderLayer(16, 2, 24, dropout=0.0, batch_first=True, norm_first=True)
    for own, reference in (
        (layer.self_attention, theirs.self_attn),
        (layer.cross_attention, theirs.multihead_attn),
    ):
        parts = (own.query, own.key, own.value)
        reference.in_proj_weight.data = torch.cat([part.weight for part in parts])
        reference.in_proj_bias.data = torch.cat([part.bias for part in parts])
        reference.out_proj.load_state_dict(own.output.state_dict())
    theirs.linear1.load_state_dict(layer.feed_forward[0].state_dict())
    theirs.linear2.load_state_dict(layer.feed_forward[3].state_dict())
    queries, slots = torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    mask = a_memory().mask
    expected = theirs.eval()(queries, slots, memory_key_padding_mask=~mask)
    torch.testing.assert_close(layer(queries, slots, mask), expected)


def test_queries_become_the_slots_and_pooled_is_projected():
    connector, memory = qformer(), a_memory()
    connected = connector(memory)
    assert connected.slots.shape == (2, 3, 16)
    assert connected.mask.all()
    assert connected.mask.shape == (2, 3)
    layer = connector.pooled[0]
    torch.testing.assert_close(
        connected.pooled, torch.relu(memory.pooled @ layer.weight.T + layer.bias)
    )


def test_slots_that_are_not_real_are_not_read():
    connector, memory = qformer(), a_memory()
    other = memory.slots.clone()
    other[0, 2:] = 9.0
    connected = connector(memory)
    torch.testing.assert_close(connector(Memory(other, memory.pooled, memory.mask)), connected)
    other[0, 0] = 9.0
    changed = connector(Memory(other, memory.pooled, memory.mask))
    assert not torch.allclose(changed.slots[0], connected.slots[0])


def test_it_reads_regions_and_has_none():
    memory = a_memory()
    regions = Memory(memory.slots, torch.randn(2, 4), memory.mask, torch.rand(2, 4, 4))
    connected = qformer(pooled_dim=4)(regions)
    assert connected.boxes is None
    assert connected.pooled.shape == (2, 16)


@pytest.mark.parametrize(
    "option",
    [
        *({name: 0} for name in SIZES),
        {"heads": 3},
        {"dropout": 1.0},
        {"dropout": -0.1},
    ],
    ids=str,
)
def test_impossible_values_are_refused(option):
    with pytest.raises(UserError, match=rf"model\.connector\.{next(iter(option))}="):
        qformer(**option)


def test_a_memory_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="connector was built for width 6"):
        qformer()(a_memory(5))
    memory = a_memory()
    with pytest.raises(UserError, match="no real slot"):
        qformer()(Memory(memory.slots, memory.pooled, memory.mask & False))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_captioner_reads_its_queries(preset):
    captioner = tiny_preset(preset, *QFORMER)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    memory = captioner.encode(images)
    assert memory.slots.shape == (2, 3, 16)
    torch.testing.assert_close(captioner.encode(captioner.encoder(images)).slots, memory.slots)
    tokens = torch.tensor([[[1, 4, 5, 6]], [[1, 7, 6, 5]]])
    logits = captioner.logits(captioner(images, tokens).hidden)
    state, steps = captioner.init_state(memory, 1), []
    for index in range(tokens.shape[-1]):
        step, state = captioner.step(tokens[..., index], state)
        steps.append(step)
    torch.testing.assert_close(logits, torch.stack(steps, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("preset", ["att2in", "transformer", "attn_lstm", "show_tell"])
def test_all_of_it_that_learns_has_a_gradient(preset):
    captioner = tiny_preset(preset, *QFORMER)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    captioner(images, torch.tensor([[[1, 4]], [[1, 5]]])).hidden.sum().backward()
    learning = {n for n, p in captioner.connector.named_parameters() if p.requires_grad}
    assert learning
    assert all(captioner.connector.get_parameter(n).grad is not None for n in learning)


def test_a_checkpoint_with_it_is_built_again(tmp_path):
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "runs"]))
    model = tiny_config(*QFORMER)["model"]
    weights = build_captioner(model, Sizes.of(tokenizer)).state_dict()
    checkpoint = Checkpoint(tmp_path, {"model": model}, tokenizer, [], weights, epochs=1)
    again = captioner_of(checkpoint)
    assert isinstance(again.connector, QFormerConnector)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, weights[name])


@pytest.mark.parametrize("key", ["num_queries", "layers", "feed_forward"])
def test_a_file_that_asks_for_more_than_its_weights_is_refused(tmp_path, key):
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "runs"]))
    model = tiny_config(*QFORMER)["model"]
    weights = build_captioner(model, Sizes.of(tokenizer)).state_dict()
    model["connector"][key] = 2**20
    checkpoint = Checkpoint(tmp_path, {"model": model}, tokenizer, [], weights, epochs=1)
    with pytest.raises(UserError):
        captioner_of(checkpoint)
