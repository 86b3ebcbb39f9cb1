"""benchmarks/families.py: the floor counts what is done, and rivals do the same work."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from captionlab.metrics.cider import CiderD
from captionlab.metrics.references import PreparedReferences

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="not in a source distribution")
SIZES: dict[str, Any] = {
    "images": 3,
    "cells": 4,
    "width": 6,
    "vocabulary": 40,
    "steps": 12,
    "captions": 2,
}


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def work(operation: str, family: str = "att2in_512", **more: Any) -> Any:
    small = ("model.decoder.hidden=8", "model.decoder.embedding=8", "model.connector.width=8")
    sizes = {**SIZES, "overrides": small, **more}
    return importlib.import_module("measuring.work").Work.of(family, operation, **sizes)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_the_products_of_a_linear_layer_are_those_counted_by_hand(mode):
    layer, x = torch.nn.Linear(8, 5), torch.randn(3, 8)

    def step() -> None:
        y = layer(x)
        if y.requires_grad:
            y.sum().backward()

    with mode():
        products = importlib.import_module("measuring.floor").record(step)
    times = 2 if mode is torch.enable_grad else 1  # the weight's gradient is as large a product
    assert products.flop == times * 2 * 3 * 8 * 5
    assert len(products.calls) == times


def test_products_in_place_of_inference_mode_are_replayed():
    out, matrix, vector = torch.zeros(2), torch.ones(2, 3), torch.ones(3)

    @torch.inference_mode()
    def run():
        torch.mv(matrix.clone(), vector.clone(), out=out.clone())
        out.clone().addmv_(matrix.clone(), vector.clone())

    recorded = importlib.import_module("measuring.floor").record(run)
    recorded.replay()
    assert recorded.flop == 2 * 2 * 2 * 3


def test_replaying_products_leaves_what_was_recorded_alone():
    left, right, out = torch.randn(4, 6), torch.randn(6, 3), torch.zeros(4, 3)
    floor = importlib.import_module("measuring.floor")
    products = floor.record(lambda: (torch.mm(left, right, out=out), out.addmm_(left, right)))
    before = out.clone()
    for _ in range(50):
        products.replay()
    assert torch.equal(out, before)
    assert products.flop == 2 * 2 * 4 * 6 * 3
    assert all(torch.isfinite(args[0]).all() for _, args, _ in products.calls)


def copied(family: str, operation: str, **more: Any) -> tuple[Any, Any, Any]:
    """Return the captions of ours, the rival's model with the same weights, and the work."""
    ours, rivals = importlib.import_module("measuring.ours"), importlib.import_module("rivals")
    todo = work(operation, family, **more)
    weights: dict[str, Any] = {}
    build = ours.build

    def catch(work: Any, config: Any) -> Any:
        captioner = build(work, config)
        with torch.no_grad():  # as behind the rival's ReLU
            captioner.decoder.words.weight.abs_()
            captioner.decoder.output.weight.mul_(20)
        weights.update(captioner.state_dict())
        return captioner

    ours.build = catch
    try:
        captions = ours.operation(todo).captions()
    finally:
        ours.build = build
    core = rivals.Att2in2Core if family == "att2in_512" else rivals.UpDownCore
    model = rivals.RecurrentCaptioning(
        core,
        width=8,
        attention=8,
        pooled=family != "att2in_512",
        vocabulary=todo.vocabulary,
        memory_dim=todo.width,
        steps=todo.steps,
    ).eval()
    model.bos, model.eos, model.pad = rivals.BOS, rivals.EOS, rivals.PAD
    copy(weights, model, recurrent="cell.recurrent.weight" if "att2in" in family else None)
    return captions, model, todo


def copy(w: dict[str, Any], model: Any, recurrent: str | None) -> None:
    """Put captionlab's weights into a rival's places."""
    model.requires_grad_(False)
    model.words[0].weight.copy_(w["decoder.words.weight"])
    places = {
        "decoder.output": model.scores,
        "connector.slots.0": model.cells[0],
        "decoder.cell.attention.query": model.core.attention.query,
    }
    if recurrent is not None:
        places |= {"decoder.cell.word": model.core.word, "decoder.cell.context": model.core.context}
        model.core.recurrent.weight.copy_(w["decoder.cell.recurrent.weight"])
        model.core.recurrent.bias.zero_()
    else:
        places["connector.pooled.0"] = model.pooled[0]
        copy_lstms(w, model.core)
    for name, layer in places.items():
        layer.weight.copy_(w[f"{name}.weight"])
        layer.bias.copy_(w[f"{name}.bias"])
    model.keys.weight.copy_(w["decoder.cell.attention.key.weight"])
    model.keys.bias.zero_()
    model.core.attention.score.weight.copy_(w["decoder.cell.attention.score"].unsqueeze(0))


def copy_lstms(w: dict[str, Any], core: Any) -> None:
    cell = "decoder.cell"
    h2, h1 = w[f"{cell}.top_down.recurrent.weight"].chunk(2, 1)
    image, word = w[f"{cell}.image.weight"], w[f"{cell}.top_down.word.weight"]
    core.top_down.weight_ih.copy_(torch.cat([h2, image, word], 1))
    core.top_down.weight_hh.copy_(h1)
    context, own = w[f"{cell}.language.recurrent.weight"].chunk(2, 1)
    core.language.weight_ih.copy_(torch.cat([context, w[f"{cell}.language.word.weight"]], 1))
    core.language.weight_hh.copy_(own)
    for name, lstm in (("top_down", core.top_down), ("language", core.language)):
        lstm.bias_ih.copy_(w[f"{cell}.{name}.word.bias"])
        lstm.bias_hh.zero_()


@pytest.mark.parametrize("family", ["att2in_512", "updown_1000"])
@pytest.mark.parametrize("operation", ["greedy", "beam"])
def test_a_rival_with_our_weights_writes_our_captions(family, operation):
    small = {"overrides": (*work("train").overrides, "model.attention.width=8"), "steps": 16}
    captions, model, todo = copied(family, operation, realistic=True, **small)
    search = importlib.import_module("rivals.ic_search")
    model.ending = importlib.import_module("measuring.work").ending_bias
    # what captionlab never writes: the padding, the beginning, unknown words
    model.scores.bias[[0, 1, 3]] = -1e4
    slots = todo.slots()
    if operation == "beam":
        theirs = search.beam_search(model, slots, 5)
    else:
        theirs = search.write(model, slots, greedy=True)[0]
    assert search.cut(theirs, model.eos) == captions
    assert 8 <= min(map(len, captions)) < todo.steps


def test_captions_without_an_end_have_all_steps():
    ours = importlib.import_module("measuring.ours")
    captions = ours.operation(work("beam")).captions()
    assert [len(caption) for caption in captions] == [SIZES["steps"]] * SIZES["images"]


@pytest.mark.parametrize("cached", [True, False])
def test_the_rival_transformer_steps_to_what_it_computes_at_once(cached):
    module = importlib.import_module("rivals.ic_transformer")
    model = module.Transformer(
        vocabulary=30, memory_dim=6, steps=5, width=16, inner=8, layers=2, cached=cached
    ).eval()
    slots, tokens = torch.randn(2, 3, 6), torch.randint(4, 30, (2, 1, 5))
    at_once = model(slots, tokens)
    prepared, state = model.prepare(slots), model.init_state(2)
    for step in range(5):
        log_probs, state = model.log_probs(tokens[:, 0, step], prepared, state)
        torch.testing.assert_close(log_probs, at_once[:, step])


def test_the_rival_cider_scores_as_ours_does():
    references = {0: ["3 4 5 6", "3 4 9 6 2"], 1: ["7 8 9 3 2", "7 8 4"], 2: ["5 4 3 2"]}
    captions, images = ["3 4 5 6 2", "7 7 9 3", "5 4 3 2"], [0, 1, 2]
    prepared = PreparedReferences(references, str.split)
    candidates = prepared.tokenized_candidates(prepared.rows(images), [c.split() for c in captions])
    theirs = importlib.import_module("rivals.cider").CiderD(references.values())
    scores = theirs(captions, [references[image] for image in images])
    # coco-caption's scale is ten times the paper's, and both use it
    assert CiderD(prepared)(candidates) == pytest.approx(scores)


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("measuring.floor").LARGE, "cpu", 64)
    monkeypatch.setattr(importlib.import_module("measuring.clock"), "SHORTEST", 0.0)
    monkeypatch.setattr(importlib.import_module("measuring.references"), "IMAGES", 4)


def test_a_cell_of_the_table_has_all_its_ratios(monkeypatch, tmp_path, capsys):
    families = importlib.import_module("families")
    make_quick(monkeypatch)
    numbers = tmp_path / "table.json"
    sizes = "--images 2 --cells 3 --captions 2 --vocabulary 60 --steps 9 --repeats 3 --seconds 0"
    small = [f"--set={one}" for one in work("train").overrides]
    which = ["--families", "att2in_512", "--operations", "train,leave_one_out"]
    arguments = ["families.py", *which, *sizes.split(), *small, "--json", str(numbers)]
    monkeypatch.setattr(sys, "argv", arguments)
    families.main()
    cells = json.loads(numbers.read_text())
    assert [cell["work"]["operation"] for cell in cells] == ["train", "leave_one_out"]
    for cell in cells:
        assert cell["over_floor"]["products"]["cpu"] > 0
        assert cell["over_floor"]["flop"]["wall"] > 0
        assert cell["times_as_fast"]["rival"]["cpu"] > 0
        assert cell["times_as_fast"]["against"] == {"cpu": None, "wall": None}
    assert "| att2in_512    | train" in capsys.readouterr().out


def test_a_table_without_options_holds_every_family_and_each_rival_self_critical():
    families = importlib.import_module("families")
    works = families.planned(families.arguments().parse_args([]))
    assert {one.family for one in works} == set(importlib.import_module("measuring.work").FAMILIES)
    cells = {(one.family, one.operation, one.images) for one in works}
    assert cells >= {("updown_1000", "beam", 50), ("transformer", "leave_one_out", 10)}
    assert cells >= {("attn_lstm", "predict", 64), ("gpt2", "greedy", 10)}
    asked = families.arguments().parse_args(["--families", "m2", "--operations", "leave_one_out"])
    assert [one.operation for one in families.planned(asked)] == ["leave_one_out"]


def test_what_a_revision_cannot_do_is_a_note():
    module = importlib.import_module("measuring.cell")
    reason = importlib.import_module("measuring.revision").CannotError("no such objective")

    class Lacking:
        def prepare(self, work: Any) -> Any:
            raise reason

    options = {"seconds": 0.0, "rounds": 3, "rival": False, "floor": False}
    cell = module.measure(work("greedy"), Lacking(), **options)
    assert cell.notes == ["against: no such objective"]
    assert cell.times_as_fast("against", "cpu") is None


@pytest.mark.slow
def test_a_revision_writes_the_same_captions_in_a_process_of_its_own():
    revision = importlib.import_module("measuring.revision")
    with revision.against(str(BENCHMARKS.parent)) as other:
        about = other.prepare(work("beam"))
        assert other().cpu > 0
        with pytest.raises(revision.CannotError, match="nonsense"):
            other.prepare(work("beam", overrides=("model.decoder.nonsense=1",)))
    ours = importlib.import_module("measuring.ours").operation(work("beam"))
    assert about["captions"] == ours.captions()


@pytest.mark.slow
def test_photographs_are_captioned_from_a_made_checkpoint():
    pytest.importorskip("timm")
    ours = importlib.import_module("measuring.ours")
    todo = work("predict", "attn_lstm", images=2, overrides=())
    clock = importlib.import_module("measuring.clock")
    whole = ours.operation(todo)
    sample = clock.Timed(whole.run, overhead=whole.overhead, cpu=whole.cpu)()
    assert sample.cpu > 0
    start = ours.operation(work("cold_start", "attn_lstm", overrides=()))
    assert clock.Timed(start.run, cpu=start.cpu)().cpu > 0.1
