"""Captions of a split, generated and scored: by one captioner or several, on one process or two."""

import json
from pathlib import Path

import pytest
import torch

from captionlab.build import Sizes, build_captioner, build_data
from captionlab.core.errors import UserError
from captionlab.decoding.beam import Beam
from captionlab.decoding.ensemble import Ensemble
from captionlab.decoding.greedy import Greedy
from captionlab.evaluation.evaluator import Evaluator
from captionlab.metrics.caption_metrics import CaptionMetrics
from captionlab.text.scoring import scoring_tokenizer
from ranks_support import run_ranks
from tests_support import tiny_config

MAX_LENGTH = 8


def build(*overrides: str, captioners: int = 1, decoding=None, answers=False, **options):
    """Return an evaluator of untrained captioners, and the data module of their validation split."""
    config = tiny_config("data.batch_size=3", *overrides)
    data = build_data(config["data"])
    models = []
    for seed in range(captioners):
        torch.manual_seed(seed)
        models.append(build_captioner(config["model"], Sizes.of(data.tokenizer)).eval())
    decoding = Greedy(max_length=MAX_LENGTH) if decoding is None else decoding
    metrics = CaptionMetrics(scoring_tokenizer("en"), answers=answers)
    evaluator = Evaluator(
        models, decoding=decoding, tokenizer=data.tokenizer, metrics=metrics, **options
    )
    return evaluator, data


def evaluate(evaluator: Evaluator, batches) -> dict[str, float]:
    evaluator.start()
    with torch.no_grad():
        for batch in batches:
            evaluator.update(batch)
    return evaluator.compute("val")


@pytest.mark.parametrize("overrides", [(), ("model/tags=default",)], ids=["plain", "tags"])
@pytest.mark.parametrize("options", [{}, {"samples": 3}, {"decoding": "beams"}], ids=str)
def test_the_scores_are_those_that_are_announced(overrides, options: dict):
    if options.get("decoding"):
        options = {"decoding": Beam(beam_size=3, num_captions=3, max_length=MAX_LENGTH)}
    evaluator, data = build(*overrides, **options)
    results = evaluate(evaluator, data.val_dataloader())
    assert set(results) == evaluator.score_names()
    assert results == evaluator.results["val"]
    assert ("self_cider" in results) == evaluator.several_captions == bool(options)


def test_the_order_of_batches_changes_nothing():
    evaluator, data = build("model/tags=default", samples=3)
    batches = list(data.val_dataloader())
    assert len(batches) > 1
    forwards = evaluate(evaluator, batches)
    assert evaluate(evaluator, batches[::-1]) == pytest.approx(forwards, rel=1e-12)


def test_an_image_that_comes_twice_counts_once():
    evaluator, data = build(samples=2)
    batches = list(data.val_dataloader())
    once = evaluate(evaluator, batches)
    assert evaluate(evaluator, [*batches, batches[0]]) == once


@torch.no_grad()
def test_the_loss_is_that_of_the_references_per_token():
    evaluator, data = build()
    captioner = evaluator.captioner
    total, tokens = 0.0, 0
    for batch in data.val_dataloader():
        memory = captioner.encode(batch.images)
        hidden = captioner.decoder(memory, batch.tokens[..., :-1]).hidden
        log_probs = captioner.logits(hidden).log_softmax(-1)
        for row in range(len(batch)):
            for caption, length in zip(batch.tokens[row], batch.lengths[row].tolist(), strict=True):
                place = (batch.tokens[row] == caption).all(-1).nonzero()[0, 0]
                for step in range(length - 1):
                    total -= float(log_probs[row, place, step, caption[step + 1]])
                    tokens += 1
    assert evaluate(evaluator, data.val_dataloader())["loss"] == pytest.approx(total / tokens)


def test_several_captioners_write_as_their_ensemble():
    evaluator, data = build(captioners=2)
    evaluate(evaluator, data.val_dataloader())
    ensemble = Ensemble(evaluator.captioners)
    tokenizer = data.tokenizer
    for batch in data.val_dataloader():
        generated = evaluator.decoding(
            ensemble,
            ensemble.encode(batch.images),
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            banned_ids=(tokenizer.unk_id,),
        )
        for image_id, ids in zip(batch.image_ids, generated.tokens[:, 0].tolist(), strict=True):
            assert evaluator.scores["val"].captions[image_id] == tokenizer.decode(ids)
    alone, _ = build()
    assert evaluate(alone, data.val_dataloader()) != evaluator.results["val"]


def test_attention_is_kept_of_the_images_that_are_asked_for():
    evaluator, data = build("model=attn_lstm", "model/encoder=small_cnn")
    kept = [record.image_id for record in data.records("val")][1:3]
    evaluator.keep_attention(kept)
    evaluate(evaluator, data.val_dataloader())
    assert set(evaluator.traces) == set(kept)
    for image_id, trace in evaluator.traces.items():
        assert " ".join(trace.words) == evaluator.scores["val"].captions[image_id]
        assert len(trace.weights) == len(trace.words)
        assert trace.weights.sum(-1).tolist() == pytest.approx([1.0] * len(trace.words), abs=1e-5)


def test_what_was_collected_is_forgotten_at_reset():
    evaluator, data = build("model/tags=default")
    batches = list(data.val_dataloader())
    with torch.no_grad():
        evaluator.update(batches[0])
    evaluator.reset()
    with pytest.raises(UserError):
        evaluator.metrics.compute()
    results = evaluate(evaluator, batches)
    assert len(evaluator.scores["val"].captions) == len(data.records("val"))
    assert evaluate(evaluator, batches) == results


def score_one_part(rank: int, folder: Path) -> None:
    """Score every second batch, with batch norm that has other statistics on each rank."""
    evaluator, data = build("model/tags=default", samples=2)
    for buffer in evaluator.captioner.buffers():
        if buffer.is_floating_point():
            buffer += rank
    evaluator.keep_attention([record.image_id for record in data.records("val")])
    results = evaluate(evaluator, list(data.val_dataloader())[rank::2])
    whole = {"results": results, "traces": sorted(map(str, evaluator.traces))}
    (folder / f"{rank}.json").write_text(json.dumps(whole))


def test_two_processes_score_as_one_does(tmp_path: Path):
    run_ranks(score_one_part, tmp_path)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    evaluator, data = build("model/tags=default", samples=2)
    assert evaluate(evaluator, data.val_dataloader()) == pytest.approx(
        ranks[0]["results"], rel=1e-5
    )


def score_answers(rank: int, folder: Path) -> None:
    """Answer every second batch of the questions."""
    evaluator, data = build("data=shapes_questions", answers=True)
    results = evaluate(evaluator, list(data.val_dataloader())[rank::2])
    captions = evaluator.scores["val"].captions
    (folder / f"{rank}.json").write_text(json.dumps([results, captions]))


def test_two_processes_score_answers_as_one_does(tmp_path: Path):
    run_ranks(score_answers, tmp_path)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    evaluator, data = build("data=shapes_questions", answers=True)
    assert evaluate(evaluator, data.val_dataloader()) == pytest.approx(ranks[0][0], rel=1e-5)
    assert "exact_match" in ranks[0][0]
    # a question is captioned once, whatever process its image's other questions are on
    assert evaluator.scores["val"].captions == ranks[0][1]
    assert len(ranks[0][1]) == len(data.scored_records("val")) > len(data.records("val"))
