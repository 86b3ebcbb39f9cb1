"""The linear connector: what it computes, behind which decoders, and from stored features."""

import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.inference.checkpoints import Checkpoint
from captionlab.inference.weights import captioner_of
from captionlab.models.connectors import LinearConnector
from captionlab.text.tokenizers import WordTokenizer
from captionlab.text.vocabulary import Vocabulary
from tests_support import PRESETS, tiny_config, tiny_preset

LINEAR = ("model/connector=linear", "model.connector.width=16")


def _memory(dim: int = 6) -> Memory:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    return Memory(torch.randn(2, 3, dim), torch.randn(2, dim), mask)


def test_it_is_a_layer_each_for_slots_and_pooled_vector():
    connector, memory = LinearConnector(width=4, memory_dim=6).eval(), _memory()
    connected = connector(memory)
    layer, pooled = connector.slots[0], connector.pooled[0]
    expected = torch.relu(memory.slots @ layer.weight.T + layer.bias)
    torch.testing.assert_close(connected.slots, expected)
    torch.testing.assert_close(
        connected.pooled, torch.relu(memory.pooled @ pooled.weight.T + pooled.bias)
    )
    assert torch.equal(connected.mask, memory.mask)


@pytest.mark.parametrize("option", [{"width": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_impossible_values_are_refused(option):
    with pytest.raises(UserError, match=next(iter(option))):
        LinearConnector(**option, memory_dim=6)


def test_a_memory_of_another_width_is_refused():
    with pytest.raises(UserError, match="connector was built for width 6"):
        LinearConnector(memory_dim=6)(_memory(5))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_captioner_reads_a_connected_memory(preset):
    captioner = tiny_preset(preset, *LINEAR)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    stored = captioner.encoder(images)
    memory = captioner.encode(images)
    assert memory.slots.shape == (*stored.slots.shape[:2], 16)
    torch.testing.assert_close(captioner.encode(stored).slots, memory.slots)
    tokens = torch.tensor([[[1, 4, 5, 6]], [[1, 7, 6, 5]]])
    logits = captioner.logits(captioner(images, tokens).hidden)
    state, steps = captioner.init_state(memory, 1), []
    for index in range(tokens.shape[-1]):
        step, state = captioner.step(tokens[..., index], state)
        steps.append(step)
    torch.testing.assert_close(logits, torch.stack(steps, 2), rtol=1e-4, atol=1e-4)


def test_a_pooled_vector_of_another_width_enters_too():
    memory = Memory(torch.randn(2, 3, 6), torch.randn(2, 4), torch.ones(2, 3, dtype=torch.bool))
    connected = LinearConnector(width=5, memory_dim=6, pooled_dim=4)(memory)
    assert (connected.slots.shape[-1], connected.pooled.shape[-1]) == (5, 5)


def test_it_learns():
    captioner = tiny_preset("attn_lstm", *LINEAR)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    captioner(images, torch.tensor([[[1, 4]], [[1, 5]]])).hidden.sum().backward()
    for part in (captioner.connector.slots[0], captioner.connector.pooled[0]):
        assert part.weight.grad.abs().sum() > 0


def test_a_checkpoint_with_a_connector_is_built_again(tmp_path):
    tokenizer = WordTokenizer(Vocabulary(["a", "dog", "runs"]))
    model = tiny_config(*LINEAR)["model"]
    captioner = build_captioner(model, Sizes.of(tokenizer))
    weights = captioner.state_dict()
    checkpoint = Checkpoint(tmp_path, {"model": model}, tokenizer, [], weights, epochs=1)
    again = captioner_of(checkpoint)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, weights[name])
