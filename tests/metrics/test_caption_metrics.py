import json
import warnings

import pytest

from captionlab.core.errors import UserError
from captionlab.metrics import CaptionMetrics, SplitScorer
from ranks_support import run_ranks

WORDS = ["a", "dog", "cat", "runs", "sleeps", "on", "grass", "red", "bed"]
CAPTIONS = {i: " ".join(WORDS[(i * k) % 9] for k in range(2, 8)) for i in range(7)}
REFERENCES = {
    i: [" ".join(WORDS[(i + j + k) % 9] for k in range(6)) for j in range(3)] for i in range(7)
}


class CountingMeteor:
    """Stands in for METEOR: number of words over 10."""

    started = 0

    def start(self):
        self.started += 1

    def score(self, candidates, references):
        import numpy as np

        each = np.array([len(text.split()) / 10 for text in candidates])
        return float(each.mean()), each


# what needs no references
OF_THE_CAPTIONS = {"vocabulary", "length", "length_deviation"}


def plain(value):
    """What JSON can hold of scores and arrays."""
    return value.tolist() if hasattr(value, "tolist") else vars(value)


def metrics_of(ids, **options):
    metrics = CaptionMetrics(str.split, **options)
    fill(metrics, ids)
    return metrics


def fill(metrics, ids):
    ids = list(ids)
    metrics.update(ids, [CAPTIONS[i] for i in ids], [REFERENCES[i] for i in ids])


def test_scores_hold_every_metric_for_split_and_image():
    truth = {i: i < 2 for i in range(7)}
    metrics = metrics_of(
        range(7), meteor=CountingMeteor(), truth=lambda i, text: truth[i] and text == CAPTIONS[i]
    )
    scores = metrics.compute()
    names = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "meteor", "truth"}
    assert set(scores.corpus) == names | OF_THE_CAPTIONS
    assert scores.corpus["truth"] == pytest.approx(2 / 7)
    assert scores.per_image[1]["truth"] == 1
    assert scores.per_image[1]["meteor"] == pytest.approx(0.6)
    assert set(scores.per_image[3]) == {"bleu_4", "rouge_l", "cider", "meteor", "truth"}
    assert scores.captions == CAPTIONS


def test_repeated_images_count_once_and_the_first_caption_counts():
    metrics = metrics_of([3, 1, 0, 2, 4, 5, 6])
    metrics.update([3, 3], ["other", "words"], [REFERENCES[3], REFERENCES[3]])
    scores = metrics.compute()
    assert scores == metrics_of(range(7)).compute()
    assert list(scores.captions) == list(range(7))


def test_reset_forgets_a_sanity_check():
    metrics = metrics_of([0, 1])
    metrics.compute()
    metrics.reset()
    fill(metrics, range(7))
    assert metrics.compute() == metrics_of(range(7)).compute()
    metrics.reset()
    with pytest.raises(UserError, match="nothing to score"):
        metrics.compute()


def test_references_are_tokenized_in_the_first_epoch_only():
    seen = []
    metrics = CaptionMetrics(lambda text: seen.append(text) or text.split())
    sizes = []
    for _ in range(3):
        metrics.reset()
        fill(metrics, range(7))
        metrics.compute()
        sizes.append(len(seen))
    assert sizes == [7 * 3 + 7, 7 * 3 + 14, 7 * 3 + 21]


def test_changed_references_are_noticed():
    metrics = metrics_of(range(7))
    before = metrics.compute()
    metrics.reset()
    ids = list(range(7))
    metrics.update(ids, list(CAPTIONS.values()), [[CAPTIONS[i]] for i in ids])
    assert metrics.compute().corpus["bleu_4"] == pytest.approx(1) != before.corpus["bleu_4"]


def test_one_image_leaves_out_cider_with_the_reason():
    metrics = metrics_of([2])
    with pytest.warns(UserWarning, match="CIDEr is left out: .* at least 2 images"):
        scores = metrics.compute()
    left = {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"}
    assert set(scores.corpus) == left | OF_THE_CAPTIONS


def test_failed_meteor_leaves_the_other_scores(monkeypatch, tmp_path):
    from captionlab.metrics import Meteor

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match="METEOR is left out"):
        metrics = metrics_of(range(7), meteor=Meteor())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = [metrics.compute() for _ in range(2)]
    assert scores[0] == scores[1] == metrics_of(range(7)).compute()


def test_awkward_captions_are_safe():
    captions = ["", "...", "a\r\ndog\u2028runs\x85on", "\ud83d\ude00 \ufffd 人", "a " * 500, "|||"]
    metrics = CaptionMetrics(lambda text: text.split("."))
    metrics.update(range(6), captions, [["a dog"], [""], ["a dog runs on"], ["人"], ["a"], ["x"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metrics.compute()
    values = [v for row in scores.per_image.values() for v in row.values()]
    assert all(0 <= value <= 10 for value in values)
    assert scores.per_image[2]["bleu_4"] == pytest.approx(1)


def test_image_without_references_is_named():
    metrics = metrics_of(range(3))
    metrics.update(["x.jpg"], ["a dog"], [[]])
    with pytest.raises(UserError, match=r"'x\.jpg' has no reference caption"):
        metrics.compute()


def test_missing_caption_is_named():
    with pytest.raises(UserError, match="1 of 7 images have no caption to score, the first is 6"):
        SplitScorer(REFERENCES, str.split)({i: CAPTIONS[i] for i in range(6)})


def test_ids_of_both_kinds_are_sorted_numbers_first():
    metrics = CaptionMetrics(str.split)
    metrics.update(["b", 2, "a", 10], ["x"] * 4, [["x"], ["y"], ["x"], ["y"]])
    assert list(metrics.compute().captions) == [2, 10, "a", "b"]


def on_one_rank(rank, folder):
    results = {}
    meteor = CountingMeteor()
    # 7 images on 2 ranks: the sampler repeats image 0 on rank 1
    shared = metrics_of([[0, 2, 4, 6], [1, 3, 5]][rank], meteor=meteor)
    if rank == 1:
        shared.update([0], ["another caption"], [REFERENCES[0]])
    results["shared"] = shared.compute()
    shared.reset()
    fill(shared, [] if rank == 0 else range(7))
    results["rank 0 empty"] = shared.compute()
    results["rank 1 empty"] = metrics_of(range(7) if rank == 0 else [], meteor=meteor).compute()
    results["meteor started"] = meteor.started

    def broken(*_):
        raise OSError("disk full")

    failing = {
        "no images": metrics_of([]),
        "no reference": metrics_of([rank]),
        "broken truth": metrics_of(range(7), truth=broken),
    }
    failing["no reference"].update(["x"], ["a"], [[]])
    for name, metrics in failing.items():
        try:
            metrics.compute()
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    (folder / f"{rank}.json").write_text(json.dumps(results, default=plain))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(on_one_rank, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_two_ranks_score_as_one(two_ranks):
    alone = metrics_of(range(7), meteor=CountingMeteor()).compute()
    expected = json.loads(json.dumps(alone, default=plain))
    for results in two_ranks:
        for name in ("shared", "rank 0 empty", "rank 1 empty"):
            assert results[name] == expected, name


def test_meteor_starts_on_rank_0_only(two_ranks):
    assert two_ranks[0]["meteor started"] > 0
    assert two_ranks[1]["meteor started"] == 0


def test_failure_on_rank_0_is_raised_on_every_rank(two_ranks):
    for results in two_ranks:
        assert results["no images"].startswith("UserError: there is nothing to score")
        assert results["no reference"].startswith("UserError: image 'x' has no reference")
    assert two_ranks[0]["broken truth"] == "OSError: disk full"
    assert (
        two_ranks[1]["broken truth"] == "RuntimeError: scoring failed on rank 0: OSError: disk full"
    )
