import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from captionlab.cli.evaluate import evaluate
from captionlab.config.references import resolve_references
from captionlab.core.errors import UserError
from commands_support import csv_data, run_train


def best(run: Path) -> str:
    return str(run / "checkpoints" / "best.ckpt")


def test_evaluation_repeats_the_scores_of_the_run(finished_run: Path, tmp_path: Path):
    assert "test/cider" in evaluate(best(finished_run), [], out=str(tmp_path / "scores"))
    before = json.loads((finished_run / "results.json").read_text())
    after = json.loads((tmp_path / "scores" / "results.json").read_text())
    for name in ("test/cider", "test/bleu_4", "test/truth", "test/loss"):
        assert after[name] == pytest.approx(before[name], abs=1e-6)
    same = (finished_run / "captions.json").read_text()
    assert (tmp_path / "scores" / "captions.json").read_text() == same


def test_a_place_that_cannot_be_a_folder_is_told_before_any_work(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for out, part in ((tmp_path / "file", "is no folder"), ("s3://b/out", "is an address")):
        with pytest.raises(UserError, match=f"^--out .*{part}"):
            evaluate("nowhere.ckpt", [], out=str(out))


def test_addresses_are_not_fetched(finished_run: Path):
    for checkpoint, others, overrides in (
        ("https://a.b/best.ckpt", [], []),
        (best(finished_run), ["https://a.b/best.ckpt"], []),
        (best(finished_run), [], ["data=csv", "data.root=https://a.b"]),
    ):
        with pytest.raises(UserError, match=r"https://a\.b.* is an address, .*download it first"):
            evaluate(checkpoint, overrides, others=others)


def test_an_ensemble_of_a_model_with_itself_scores_as_the_model(finished_run: Path, tmp_path: Path):
    twice = tmp_path / "twice"
    evaluate(best(finished_run), [], out=str(twice), others=[best(finished_run)])
    page = (twice / "gallery.html").read_text()
    assert page.count(f"{Path(best(finished_run)).absolute()} (epoch ") == 2
    before = json.loads((finished_run / "results.json").read_text())
    after = json.loads((twice / "results.json").read_text())
    for name in ("test/cider", "test/loss"):
        assert after[name] == pytest.approx(before[name], abs=1e-5)


def test_another_split_and_another_decoding(finished_run: Path, tmp_path: Path):
    overrides = ["split=val", "decoding=beam", "decoding.beam_size=3", "data.batch_size=3"]
    assert evaluate(best(finished_run), overrides, out=str(tmp_path / "scores"), precision="bf16")
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert "val/cider" in results
    assert '"precision": "bf16-mixed"' in json.dumps(results)
    page = (tmp_path / "scores" / "gallery.html").read_text()
    assert "<dd>shapes, split val, 8 images with " in page
    assert "<dd>beam, beam_size=3, " in page
    assert f"<dd>{Path(best(finished_run)).absolute()} (epoch " in page


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
        (["data/tokenizer=subword"], "brings its tokenizer"),
        (["data.augment=null"], "no effect on an evaluation"),
        (["data.captions_per_image=1"], "no effect on an evaluation"),
        (["trainer.max_epochs=3"], "no effect on an evaluation"),
        (["trainer.limit_val_batches=1"], "did you mean 'limit_test_batches'"),
        (["data.language=zh"], "language=zh.*trained on language=en"),
        (["data.root=elsewhere"], "data.root: there is no such key"),
    ],
)
def test_a_wrong_override_is_named(finished_run: Path, tmp_path: Path, overrides, part: str):
    with pytest.raises(UserError, match=part):
        evaluate(best(finished_run), overrides, out=str(tmp_path / "scores"))
    assert not (tmp_path / "scores").exists()


def pictures(folder: Path, number: int, noun: str) -> Path:
    """Write a small data set of ``number`` test pictures with captions about a noun."""
    folder.mkdir()
    rows = ["image,caption,split"]
    for i in range(number):
        Image.new("RGB", (40, 40), (i * 30 % 256, 80, 90)).save(folder / f"{noun}{i}.png")
        rows += [f"{noun}{i}.png,a {noun} runs on the green grass,test"]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def trained_on_pictures(tmp_path: Path) -> Path:
    """Return the checkpoint of a run on pictures of dogs."""
    overrides = csv_data(tmp_path, 12)
    run_train(
        tmp_path, *overrides, "model.encoder.image_size=32", "test=false", "hydra.run.dir=run"
    )
    return tmp_path / "run" / "checkpoints" / "best.ckpt"


def references(folder: Path) -> str:
    return (folder / "references.json").read_text()


@pytest.mark.parametrize("written", ["now", "before references were kept"])
def test_other_data_are_scored_and_named(
    trained_on_pictures: Path, tmp_path: Path, capsys, written: str
):
    if written != "now":
        as_format_1(trained_on_pictures)
    cats = pictures(tmp_path / "cats", 3, "cat")
    assert evaluate(str(trained_on_pictures), [f"data.root={cats}"])
    assert f"csv test: 3 images from {cats}" in capsys.readouterr().out
    folder = tmp_path / "run" / "csv-test"
    assert "a cat runs" in references(folder)
    read = json.loads((folder / "results.json").read_text())["settings"]["data"]
    assert (read["origin"], read["split"], read["images"]) == (str(cats), "test", 3)
    with pytest.raises(UserError, match="nowhere"):
        evaluate(str(trained_on_pictures), ["data.root=nowhere"])


def as_format_1(path: Path) -> None:
    """Write a checkpoint as before references were kept."""
    stored = torch.load(path, weights_only=True)
    entry = stored["captionlab"]
    entry["config"] = resolve_references(entry["config"], "")
    entry["format"] = 1
    del entry["data"]
    torch.save(stored, path)


def test_results_of_other_settings_are_kept(trained_on_pictures: Path, tmp_path: Path, capsys):
    cats, birds = (pictures(tmp_path / f"{noun}s", 3, noun) for noun in ("cat", "bird"))
    checkpoint, run = str(trained_on_pictures), tmp_path / "run"
    evaluate(checkpoint, [f"data.root={cats}"])
    first = (run / "csv-test" / "results.json").read_text()
    evaluate(checkpoint, [f"data.root={birds}"])
    evaluate(checkpoint, [f"data.root={cats}", "decoding=greedy"])
    assert (run / "csv-test" / "results.json").read_text() == first
    assert "a bird runs" in references(run / "csv-test-2")
    assert "a cat runs" in references(run / "csv-test-3")
    capsys.readouterr()
    evaluate(checkpoint, [f"data.root={cats}", "data.batch_size=2"])
    assert "in place of results of the same settings" in capsys.readouterr().out
    assert len(list(run.glob("csv-test*"))) == 3


def test_a_folder_that_is_named_keeps_results_of_other_settings(
    trained_on_pictures: Path, finished_run: Path, tmp_path: Path
):
    cats = pictures(tmp_path / "cats", 3, "cat")
    out = str(tmp_path / "out")
    evaluate(str(trained_on_pictures), [f"data.root={cats}"], out=out)
    before = references(tmp_path / "out")
    with pytest.raises(UserError, match=r"other settings.*decoding"):
        evaluate(str(trained_on_pictures), [f"data.root={cats}", "decoding=greedy"], out=out)
    assert references(tmp_path / "out") == before
    with pytest.raises(UserError, match="they do not say which"):
        evaluate(best(finished_run), [], out=str(finished_run))


def test_the_training_split_is_scored_without_what_training_does_to_it(
    finished_run: Path, tmp_path: Path
):
    evaluate(
        best(finished_run), ["split=train", "data.source.train_size=8"], out=str(tmp_path / "o")
    )
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["settings"]["data"]["captions"] == 8 * 5
    assert "augment" not in results["settings"]["read"]
