import csv
import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from captionlab.config.references import resolve_references
from captionlab.inference.checkpoints import read_checkpoint
from commands_support import SMALL, run_train


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_folder_holds_what_the_readme_promises(finished_run: Path):
    files = {str(p.relative_to(finished_run)) for p in finished_run.rglob("*") if p.is_file()}
    assert files == {
        "config.yaml",
        "overrides.yaml",
        "metrics.csv",
        "results.json",
        "captions.json",
        "references.json",
        "statistics.npz",
        "gallery.html",
        "train.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }


def test_the_gallery_shows_where_the_model_looked_for_each_word(finished_run: Path):
    page = (finished_run / "gallery.html").read_text()
    captions = json.loads((finished_run / "captions.json").read_text())
    said = [entry["caption"].split() for entry in captions]
    strips = re.findall(r'<ul class="attention".*?</ul>', page)
    assert [len(re.findall("<li>", strip)) for strip in strips] == [len(w) for w in said if w]


def test_the_gallery_says_of_which_data_and_checkpoint_it_is(finished_run: Path):
    page = (finished_run / "gallery.html").read_text()
    best = read_checkpoint(finished_run / "checkpoints" / "best.ckpt")
    assert f"<h1>shapes test, best.ckpt after epoch {best.epochs}</h1>" in page
    assert "<dd>shapes, split test, 8 images with " in page
    assert " captions, from built-in scenes</dd>" in page
    assert f"<dd>{best.path} (epoch {best.epochs})</dd>" in page
    assert "<dd>greedy, max_length=" in page or "<dd>beam, beam_size=" in page


def test_every_score_is_logged_each_epoch(finished_run: Path):
    rows = table(finished_run)
    assert [row["epoch"] for row in rows[:2]] == ["0", "1"]
    names = [f"val/bleu_{n}" for n in (1, 2, 3, 4)]
    names += ["val/rouge_l", "val/cider", "val/truth", "val/loss", "train/loss"]
    for row in rows[:2]:
        assert all(row[name] != "" for name in names), row
    assert float(rows[1]["train/loss"]) < float(rows[0]["train/loss"])


def test_results_and_captions_belong_together(finished_run: Path):
    results = json.loads((finished_run / "results.json").read_text())
    assert {"test/cider", "test/bleu_4", "test/truth", "test_unseen/truth"} <= set(results)
    captions = json.loads((finished_run / "captions.json").read_text())
    assert len({row["image_id"] for row in captions}) == 8
    assert all(set(row) == {"image_id", "caption"} and row["caption"] for row in captions)


def test_config_yaml_keeps_references_and_overrides(finished_run: Path):
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert config["model"]["decoder"]["hidden"] == 32
    assert config["data"]["image_size"] == "${model.encoder.image_size}"
    assert "${" not in str(resolve_references(config, "config.yaml"))
    assert "model.decoder.hidden=32" in yaml.safe_load(
        (finished_run / "overrides.yaml").read_text()
    )


def test_a_checkpoint_holds_plain_types_only(finished_run: Path):
    stored = torch.load(finished_run / "checkpoints" / "best.ckpt", weights_only=True)
    entry = stored["captionlab"]
    parts = {"format", "config", "tokenizer", "decoding", "overrides", "scores", "data"}
    assert set(entry) == parts
    assert json.dumps(entry)


def test_the_same_seed_gives_the_same_numbers(finished_run: Path, tmp_path: Path):
    run_train(tmp_path, *SMALL, "hydra.run.dir=again", "test=false")
    again = table(tmp_path / "again")
    for name in ("train/loss", "val/loss", "val/cider"):
        assert float(again[1][name]) == pytest.approx(float(table(finished_run)[1][name]), abs=1e-6)


def test_a_resumed_run_goes_on_where_it_stopped(finished_run: Path, tmp_path: Path):
    last = finished_run / "checkpoints" / "last.ckpt"
    more = [o for o in SMALL if "max_epochs" not in o] + ["trainer.max_epochs=3", "test=false"]
    run_train(tmp_path, *more, f"ckpt={last}", "hydra.run.dir=resumed")
    assert [row["epoch"] for row in table(tmp_path / "resumed")] == ["2"]
    stored = torch.load(tmp_path / "resumed" / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["epoch"] == 2


def test_resuming_with_another_model_is_refused(finished_run: Path, tmp_path: Path, capsys):
    last = finished_run / "checkpoints" / "last.ckpt"
    changed = [o for o in SMALL if "hidden" not in o] + ["model.decoder.hidden=48"]
    with pytest.raises(SystemExit) as stop:
        run_train(tmp_path, *changed, f"ckpt={last}", "hydra.run.dir=resumed")
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "model.decoder.hidden=32" in message
    assert "model.decoder.hidden=48" in message


def test_resuming_a_finished_run_says_what_to_raise(finished_run: Path, tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as stop:
        run_train(tmp_path, *SMALL, f"ckpt={finished_run / 'checkpoints' / 'last.ckpt'}")
    assert stop.value.code == 2
    assert "trainer.max_epochs" in capsys.readouterr().err


def test_init_from_starts_a_new_run_from_the_weights(finished_run: Path, tmp_path: Path):
    best = finished_run / "checkpoints" / "best.ckpt"
    still = ["optimizer.lr=1e-12", "scheduler=constant", "test=false", "hydra.run.dir=tuned"]
    run_train(tmp_path, *SMALL, f"init_from={best}", *still)
    before = torch.load(best, weights_only=True)["state_dict"]
    after = torch.load(tmp_path / "tuned/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    name = "captioner.decoder.output.weight"
    torch.testing.assert_close(after[name], before[name])
    assert [row["epoch"] for row in table(tmp_path / "tuned")] == ["0", "1"]


def test_last_is_the_last_epoch_even_if_another_was_better(finished_run: Path):
    last = torch.load(finished_run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    assert last["global_step"] == 16


@pytest.mark.parametrize(
    "overrides",
    [
        ["scheduler=plateau", "optimizer=sgd"],
        ["scheduler=step", "optimizer=adam", "trainer.accumulate_grad_batches=2"],
        ["trainer.precision=bf16-mixed", "model/attention=gated_additive"],
        ["trainer.precision=bf16-mixed", "model/attention=none"],
        ["trainer.precision=bf16-mixed", "model/attention=dot"],
        ["model/attention=none", "model/decoder=gru", "model.decoder.layers=2"],
        ["callbacks=early_stopping", "decoding=sampling", "objective.label_smoothing=0.1"],
        ["data/tokenizer=subword", "data.tokenizer.size=300", "model/attention=additive"],
        ["data.language=zh", "decoding=greedy"],
        ["logger=tensorboard", "data/augment=standard", "data.num_workers=1"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_other_choices_train_and_score(tmp_path: Path, overrides: list[str]):
    once = [o for o in SMALL if not o.startswith("trainer.max_epochs")]
    if any(o.startswith("data/tokenizer") for o in overrides):
        once = [o for o in once if not o.startswith("data.tokenizer")]
    if "model/decoder=gru" in overrides:
        once = [o for o in once if "attention" not in o]
    run_train(
        tmp_path, *once, *overrides, "trainer.max_epochs=2", "hydra.run.dir=run", "test=false"
    )
    (first, second) = table(tmp_path / "run")
    assert float(second["train/loss"]) < float(first["train/loss"]) + 0.5
    assert second["val/cider"] != ""
