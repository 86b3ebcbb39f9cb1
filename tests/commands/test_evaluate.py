import json
import shutil
from pathlib import Path

import pytest

from captionlab.commands.evaluate import evaluate
from captionlab.errors import UserError


def best(run: Path) -> str:
    return str(run / "checkpoints" / "best.ckpt")


def test_evaluation_repeats_the_scores_of_the_run(finished_run: Path, tmp_path: Path):
    assert evaluate(best(finished_run), [], out=str(tmp_path / "scores")) == 0
    before = json.loads((finished_run / "results.json").read_text())
    after = json.loads((tmp_path / "scores" / "results.json").read_text())
    for name in ("test/cider", "test/bleu_4", "test/truth", "test/loss"):
        assert after[name] == pytest.approx(before[name], abs=1e-6)
    same = (finished_run / "captions.json").read_text()
    assert (tmp_path / "scores" / "captions.json").read_text() == same


def test_an_ensemble_of_a_model_with_itself_scores_as_the_model(finished_run: Path, tmp_path: Path):
    twice = tmp_path / "twice"
    evaluate(best(finished_run), [], out=str(twice), others=[best(finished_run)])
    before = json.loads((finished_run / "results.json").read_text())
    after = json.loads((twice / "results.json").read_text())
    for name in ("test/cider", "test/loss"):
        assert after[name] == pytest.approx(before[name], abs=1e-5)


def test_another_split_and_another_decoding(finished_run: Path, tmp_path: Path):
    overrides = ["split=val", "decoding=beam", "decoding.beam_size=3", "data.batch_size=3"]
    assert evaluate(best(finished_run), overrides, out=str(tmp_path / "scores")) == 0
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert "val/cider" in results
    assert (tmp_path / "scores" / "gallery.html").exists()


@pytest.mark.java
def test_pycocoevalcap_gives_the_same_numbers_on_what_was_written(
    finished_run: Path, tmp_path: Path
):
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    evaluate(best(finished_run), [], out=str(tmp_path / "scores"))
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = json.loads((tmp_path / "scores" / "captions.json").read_text())
    truth = json.loads((tmp_path / "scores" / "references.json").read_text())["annotations"]
    references: dict[str, list[dict[str, str]]] = {}
    for row in truth:
        references.setdefault(row["image_id"], []).append({"caption": row["caption"]})
    hypotheses = {row["image_id"]: [{"caption": row["caption"]}] for row in captions}
    tokenizer = PTBTokenizer()
    references, hypotheses = tokenizer.tokenize(references), tokenizer.tokenize(hypotheses)
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    for n in range(4):
        assert results[f"test/bleu_{n + 1}"] == pytest.approx(bleu[n], abs=1e-6)
    assert results["test/cider"] == pytest.approx(
        Cider().compute_score(references, hypotheses)[0], abs=1e-6
    )
    assert results["test/rouge_l"] == pytest.approx(
        Rouge().compute_score(references, hypotheses)[0], abs=1e-6
    )


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["split=tset"], "did you mean 'test'"),
        (["decoding=beem"], "beam"),
        (["decoding.beam_sise=5"], "did you mean 'beam_size'"),
        (["model.decoder.hidden=9"], "model.decoder.hidden cannot be set here"),
        (["optimizer=sgd"], "optimizer"),
        (["decoding=beam", "decoding.beam_size=0"], "decoding.beam_size"),
    ],
)
def test_a_wrong_override_is_named(finished_run: Path, tmp_path: Path, overrides, part: str):
    with pytest.raises(UserError, match=part):
        evaluate(best(finished_run), overrides, out=str(tmp_path / "scores"))
    assert not (tmp_path / "scores").exists()
