"""A pooled vector of another width than the slots' reaches whatever reads it, and nothing else."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.core.memory import Memory
from captionlab.decoding import Greedy
from tests_support import PRESETS, SMALLER, tiny_config

SLOTS, POOLED = 12, 5
WORDS = ("", "", "", "", *(f"word{chr(97 + i)}" for i in range(7)))
BLIND = {"aoa", "att2in", "gpt2", "huggingface_captioner", "m2", "prefix", "transformer"}


def config(preset: str, *overrides: str) -> dict:
    regions = ["model/encoder=regions", f"model.encoder.dim={SLOTS}"]
    return tiny_config(
        f"model={preset}",
        *regions,
        f"model.encoder.pooled_dim={POOLED}",
        *SMALLER.get(preset, ()),
        *overrides,
    )


def memory(pooled: int = POOLED) -> Memory:
    generator = torch.Generator().manual_seed(0)
    slots = torch.randn(2, 3, SLOTS, generator=generator)
    vector = torch.randn(2, pooled, generator=generator)
    return Memory(slots, vector, torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_takes_it_and_those_that_read_it_are_moved_by_it(preset: str):
    torch.manual_seed(0)
    model = build_captioner(config(preset)["model"], Sizes(11, 0, WORDS)).eval()
    seen = memory()
    tokens = torch.tensor([1, 5, 7, 6]).expand(2, 1, 4)
    before = model(seen, tokens).hidden
    after = model(Memory(seen.slots, seen.pooled + 1, seen.mask), tokens).hidden
    assert torch.equal(before, after) == (preset in BLIND)
    captions = Greedy(max_length=3)(model, seen, bos_id=1, eos_id=2, pad_id=0)
    assert len(captions.tokens) == 2


def test_tags_are_predicted_from_it():
    model = build_captioner(config("tiny", "model/tags=default")["model"], Sizes(11, 0, WORDS))
    assert model.tags.output.in_features == POOLED
    assert model.tags(memory()).shape == (2, len(model.tags.ids))


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - BLIND))
def test_another_width_than_it_was_built_for_is_refused(preset: str):
    model = build_captioner(config(preset)["model"], Sizes(11, 0, WORDS))
    with pytest.raises(UserError, match=r"pooled vector is 12 wide, but this decoder .* width 5"):
        model(memory(SLOTS), torch.tensor([1, 5]).expand(2, 1, 2))
    with pytest.raises(UserError, match="pooled vector is 12 wide"):
        model.init_state(memory(SLOTS), 1)


class OwnDecoder(nn.Module):
    """As a decoder of a user's own was before there was another width."""

    def __init__(self, *, vocabulary_size, pad_id, memory_dim, attention, hidden=4) -> None:
        super().__init__()


def test_a_decoder_that_does_not_know_it_is_refused_where_it_differs(
    monkeypatch: pytest.MonkeyPatch,
):
    module = ModuleType("own_parts")
    module.OwnDecoder = OwnDecoder
    monkeypatch.setitem(sys.modules, "own_parts", module)
    node = {"_target_": "own_parts.OwnDecoder", "_partial_": True}
    model = {**config("show_tell")["model"], "decoder": node}
    with pytest.raises(
        UserError, match=r"OwnDecoder takes no pooled_dim.*\(12\).* 5 wide: .*connector=linear"
    ):
        build_captioner(model, Sizes(11, 0, WORDS))
    linear = {
        "_target_": "captionlab.models.connectors.LinearConnector",
        "_partial_": True,
        "width": 8,
    }
    build_captioner({**model, "connector": linear}, Sizes(11, 0, WORDS))
    alike = {**model["encoder"], "pooled_dim": None}
    build_captioner({**model, "encoder": alike}, Sizes(11, 0, WORDS))
