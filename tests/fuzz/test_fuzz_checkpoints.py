"""Damaged checkpoints end in one sentence, or load as a checkpoint that was not damaged where it counts."""

from __future__ import annotations

import copy
import io
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captionlab.cli.evaluate import configure
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.weights import captioner_of
from hostile_support import MEMORY, forget_peak, honest, peak_memory, watched

PLAIN = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    st.sampled_from([10**9, -1, 2**63, "os.system", "${data.root}", "../x", "", [], {}, "DEFAULT"]),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["_target_", "_args_", "a", "name"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return honest()


@pytest.fixture(scope="module")
def whole(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def outcome(path: Path) -> str:
    """Load a file as predict and evaluate do; return how it ended."""
    try:
        checkpoint = read_checkpoint(path)
        captioner_of(checkpoint)
        configure(checkpoint, [], [])
    except UserError:
        return "refused"
    return "loaded"


def flip(path: Path, whole: bytes, seed: int) -> str:
    draw = random.Random(seed)
    damaged = bytearray(whole)
    for _ in range(draw.choice((1, 1, 1, 4, 64))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(damaged))
    return outcome(path)


def check_flips(whole: bytes, tmp_path: Path, seeds: range) -> None:
    forget_peak()
    before = peak_memory()
    with watched() as watch:
        ends = {flip(tmp_path / "flipped.ckpt", whole, seed) for seed in seeds}
    assert ends <= {"refused", "loaded"}
    assert not watch.connected
    assert not watch.started
    assert set(watch.written) <= {str(tmp_path / "flipped.ckpt")}
    assert peak_memory() - before < MEMORY


def test_flipped_bits_end_in_a_sentence_or_in_nothing(whole: bytes, tmp_path: Path):
    check_flips(whole, tmp_path, range(12))


@pytest.mark.slow
def test_many_flipped_bits(whole: bytes, tmp_path: Path):
    check_flips(whole, tmp_path, range(12, 2_000))


def settings_of(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    if isinstance(node, dict):
        for name, child in node.items():
            found += settings_of(child, (*path, name))
    return found


def check_replaced(content: dict[str, Any], tmp_path: Path, data: st.DataObject) -> None:
    entry = content["captionlab"]
    paths = settings_of({name: entry[name] for name in ("config", "tokenizer", "overrides")})
    changed = copy.deepcopy(content)
    *parents, name = data.draw(st.sampled_from(paths))
    node = changed["captionlab"]
    for step in parents:
        node = node[step]
    node[name] = data.draw(VALUES)
    path = tmp_path / "replaced.ckpt"
    torch.save(changed, path)
    with watched() as watch:
        outcome(path)
    assert not watch.connected
    assert not watch.started
    assert not watch.written


@settings(
    derandomize=True,
    deadline=None,
    max_examples=8,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_value_in_any_place_ends_in_a_sentence_or_in_nothing(content, tmp_path, data):
    check_replaced(content, tmp_path, data)


@pytest.mark.slow
@settings(deadline=None, max_examples=1_500, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_values_in_many_places(content, tmp_path, data):
    check_replaced(content, tmp_path, data)
