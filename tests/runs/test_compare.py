"""Compare: what the table says is what the runs left, and noise is called noise."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from captionlab.cli.compare import compare
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.metrics.bootstrap import Statistic
from captionlab.metrics.statistics_file import write_statistics
from captionlab.runs.comparison import (
    distinguishing_keys,
    full_metric_name,
    group_runs,
    paired_difference,
    rank_groups,
    setting_titles,
)
from captionlab.runs.run import read_runs
from tests_support import HANG

IMAGES = 200
RANDOM = np.random.default_rng(0)
EASE = RANDOM.gamma(2.0, 0.5, size=IMAGES)  # how easy each image is, for every model


def write_run(
    folder: Path,
    *,
    name: str = "tiny",
    seed: int = 1,
    lift: float = 0.0,
    rate: float = 1e-3,
    finished: bool = True,
    epochs: int = 2,
) -> Path:
    """Leave what a run leaves; its captions score ``lift`` more than usual."""
    random = np.random.default_rng([seed, int(1e4 * rate)])
    (folder / "checkpoints").mkdir(parents=True)
    config = {
        "seed": seed,
        "output_dir": str(folder),
        "ckpt": None,
        "model": {
            "name": name,
            "decoder": {"_target_": "captionlab.models.X", "hidden": len(name)},
        },
        "optimizer": {"lr": rate},
        "trainer": {"max_epochs": 3},
        "logger": {"wandb": {"name": f"{name}-{seed}"}},  # no reason to keep seeds apart
        "callbacks": {"best": {"dirpath": f"/elsewhere/{folder.name}/checkpoints"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with (folder / "metrics.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "step", "train/seconds", "val/cider", "val/loss"])
        for epoch in range(epochs):
            # the last epoch is not the best one
            writer.writerow([epoch, 10 * epoch, 7.5, 1.0 + lift - 0.1 * epoch, 2.0 + epoch])
    if not finished:
        return folder
    ids = [f"image-{i}" for i in range(IMAGES)]
    cider = EASE + lift + random.normal(0, 0.05, size=IMAGES)
    write_statistics(folder / "statistics.npz", ids, {"cider": Statistic(cider[:, None])})
    results = {"test/cider": float(cider.mean()), "test/loss": 2.0 - lift}
    (folder / "results.json").write_text(json.dumps(results))
    said = [{"image_id": i, "caption": f"a {name} dog </script> {i}"} for i in ids]
    (folder / "captions.json").write_text(json.dumps(said))
    references = [{"id": 0, "image_id": i, "caption": f"The dog of {i}."} for i in ids]
    (folder / "references.json").write_text(json.dumps({"annotations": references}))
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", seed=seed)
        write_run(tmp_path / f"b{seed}", name="large", seed=seed, lift=0.3)
        write_run(tmp_path / f"c{seed}", name="large", seed=seed, lift=0.3001, rate=2e-3)
    write_run(tmp_path / "half", name="slow", finished=False)
    return tmp_path


def test_runs_of_other_seeds_are_one_row_and_the_best_comes_first(sweep):
    runs = read_runs([sweep])
    metric = full_metric_name("cider", runs)
    assert metric == "test/cider"
    rows = rank_groups(group_runs(runs), metric)
    assert [len(row.runs) for row in rows] == [2, 2, 2, 1]
    values = [json.loads((sweep / f"a{s}" / "results.json").read_text()) for s in (1, 2)]
    last = next(row for row in rows if row.runs[0].path.name == "a1")
    mean = sum(value["test/cider"] for value in values) / 2
    assert last.mean(metric) == pytest.approx(mean)
    assert last.spread(metric) == pytest.approx(
        abs(values[0]["test/cider"] - values[1]["test/cider"]) / 2**0.5
    )
    assert rows[-1].mean(metric) is None
    # one name tells the models apart, the rate tells two of them; widths say the name again
    keys = distinguishing_keys(rows)
    assert keys == ["model.name", "optimizer.lr"]
    assert setting_titles(keys) == {"model.name": "model", "optimizer.lr": "lr"}
    assert [row.runs[0].path.name for row in rank_groups(rows, "test/loss")][-2:] == ["a1", "half"]


def test_a_clear_difference_is_told_from_noise(sweep):
    runs = read_runs([sweep])
    rows = {row.runs[0].path.name: row for row in group_runs(runs)}
    clear = paired_difference(rows["a1"], rows["b1"], "test/cider")
    assert clear.value == pytest.approx(-0.3, abs=0.02)
    assert clear.certain
    assert clear.low < clear.value < clear.high
    open_ = paired_difference(rows["b1"], rows["c1"], "test/cider")
    assert not open_.certain
    assert paired_difference(rows["half"], rows["b1"], "test/cider") is None
    assert paired_difference(rows["a1"], rows["b1"], "val/cider") is None


def test_images_that_differ_are_not_paired(sweep, tmp_path):
    runs = read_runs([sweep])
    rows = {row.runs[0].path.name: row for row in group_runs(runs)}
    write_statistics(
        sweep / "a1" / "statistics.npz", ["other"], {"cider": Statistic(np.ones((1, 1)))}
    )
    assert paired_difference(rows["a1"], rows["b1"], "test/cider") is None


def test_an_unfinished_run_shows_its_best_epoch(sweep):
    run = read_runs([sweep / "half"])[0]
    assert not run.finished
    assert run.scores == {"val/cider": 1.0, "val/loss": 2.0}
    assert (run.epochs, run.max_epochs, run.seconds) == (2, 3, 15.0)


def test_the_best_epoch_is_the_one_that_the_run_kept(tmp_path):
    run = write_run(tmp_path / "run", finished=False, epochs=3)
    assert read_runs([run])[0].scores["val/loss"] == 2.0
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["callbacks"]["best"] |= {"monitor": "val/length", "mode": "min"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "metrics.csv").write_text(
        "epoch,step,val/cider,val/length,val/loss\n0,1,0.9,9,1\n1,2,0.5,7,2\n2,3,0.7,8,3\n"
    )
    assert read_runs([run])[0].scores == {"val/cider": 0.5, "val/length": 7.0, "val/loss": 2.0}


def test_a_loss_that_is_no_number_costs_neither_table_nor_page(sweep, tmp_path, capsys):
    run = next(sweep.glob("*/metrics.csv"))
    text = run.read_text().replace("3.0", "nan")
    run.write_text(text.replace("2.0", "inf"))
    assert "nan" in run.read_text()
    assert compare([str(sweep)], page=str(tmp_path / "page.html")) == 0
    assert "NaN" not in (tmp_path / "page.html").read_text().partition("<script>")[0]
    shown = capsys.readouterr().out
    assert "nan" not in shown


def test_the_table_names_its_best_row_and_what_is_unfinished(sweep, capsys):
    assert compare([str(sweep)]) == 0
    shown = capsys.readouterr().out
    assert "7 runs by test/cider" in shown
    best = next(line for line in shown.splitlines() if line.startswith("│ *"))
    assert "large" in best
    assert "≈" in shown
    assert re.search(r"slow .* 2 of 3, unfinished", shown)


def test_the_csv_has_one_line_a_run(sweep, tmp_path, capsys):
    compare([str(sweep)], table=str(tmp_path / "out.csv"))
    lines = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(lines) == 7
    first = lines[0]
    stored = json.loads((Path(first["run"]) / "results.json").read_text())
    assert float(first["test/cider"]) == stored["test/cider"]
    assert {"seed", "model.name", "model.decoder.hidden", "optimizer.lr"} <= first.keys()
    assert "callbacks.best.dirpath" not in first  # each run's own folder is no setting
    assert [line["test/cider"] for line in lines if line["run"].endswith("half")] == [""]


def test_what_is_averaged_over_can_be_chosen(sweep):
    rows = group_runs(read_runs([sweep]), ["seed", "optimizer.lr"])
    assert sorted(len(row.runs) for row in rows) == [1, 2, 4]
    with pytest.raises(UserError, match=r"--over optimizer\.rate: no run has such a setting; did"):
        group_runs(read_runs([sweep]), ["optimizer.rate"])


def test_files_are_written_before_the_table_is_printed(sweep, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("captionlab.cli.compare.show", fail)
    with pytest.raises(OSError):  # noqa: PT011
        compare([str(sweep)], table=str(tmp_path / "new" / "runs.csv"))
    assert (tmp_path / "new" / "runs.csv").exists()


def test_what_cannot_be_written_is_told_first(tmp_path):
    for option, given in (("--csv", {"table": str(tmp_path)}), ("--html", {"page": "s3://b/x"})):
        with pytest.raises(UserError, match=f"^{option} "):
            compare(["nowhere"], **given)


def test_what_cannot_be_compared_is_said(sweep, tmp_path):
    with pytest.raises(UserError, match=r"s3://b/run is an address"):
        read_runs(["s3://b/run"])
    with pytest.raises(UserError, match=r"There is no folder .*a9; did you mean .*a[12]"):
        read_runs([sweep / "a9"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no run"):
        read_runs([tmp_path / "empty"])
    with pytest.raises(UserError, match="no run has such a score; did you mean 'cider'"):
        full_metric_name("cidre", read_runs([sweep]))
    (sweep / "a1" / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml is no YAML"):
        read_runs([sweep])


def test_a_real_run_is_shown_with_its_pictures(finished_run, tmp_path, capsys):
    page = tmp_path / "one.html"
    assert compare([str(finished_run)], page=str(page), by="val/loss") == 0
    assert page.read_text().count("data:image/png") >= 5
    assert "val/loss" in capsys.readouterr().out
    run = read_runs([finished_run])[0]
    results = json.loads((finished_run / "results.json").read_text())
    assert run.seconds > 0
    for name in ("cider", "bleu_4", "vocabulary", "loss"):
        statistic = run.per_image[name]
        whole = statistic.score(statistic.values.sum(0, keepdims=True), len(statistic.values))
        assert whole[0] == pytest.approx(results[f"test/{name}"], abs=1e-5), name


def test_one_of_several_languages_is_shown_with_its_pictures(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run, ignore=shutil.ignore_patterns("checkpoints"))
    captions = json.loads((run / "captions.json").read_text())
    ids = [{**one, "image_id": f"{one['image_id']}: en"} for one in captions]
    (run / "captions.json").write_text(json.dumps(ids))
    compare([str(run)], page=str(tmp_path / "page.html"), by="val/loss")
    assert (tmp_path / "page.html").read_text().count("data:image/png") >= 5


def facts(page: Path) -> dict[str, str]:
    """Return what the heading of a page says, as it stands in the HTML."""
    head = page.read_text().partition("<script")[0]
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", head))


def test_the_page_says_of_which_data_and_checkpoint_it_is(finished_run, tmp_path, capsys):
    page = tmp_path / "one.html"
    compare([str(finished_run)], page=str(page))
    assert "<h1>1 run by test/cider on shapes</h1>" in page.read_text()
    told = facts(page)
    assert re.fullmatch(
        r"shapes, split test, 8 images with \d+ captions, from built-in scenes", told["data"]
    )
    best = read_checkpoint(finished_run / "checkpoints" / "best.ckpt")
    assert told["checkpoint"] == f"{best.path} (epoch {best.epochs})"
    assert "max_length=" in told["decoding"]
    assert "captions" not in told
    # scores of one split beside captions of another have to say so
    compare([str(finished_run)], page=str(page), by="val/cider")
    assert facts(page)["data"].startswith("shapes, split val, ")
    assert facts(page)["captions"] == "of split test"


def test_runs_that_differ_in_data_are_told_and_a_strangers_text_stays_text(sweep, tmp_path, capsys):
    hostile = "</dd><script>alert(1)</script>"
    for number, folder in enumerate(("a1", "b1")):
        path = sweep / folder / "results.json"
        read = {"images": 7, "captions": 9}
        told = {"name": hostile, "origin": f"/{number}", "splits": {"test": read}}
        path.write_text(json.dumps({**json.loads(path.read_text()), "data": told}))
    page = tmp_path / "page.html"
    compare([str(sweep)], page=str(page))
    assert hostile not in page.read_text()
    assert page.read_text().count("<script") == 2
    told = facts(page)
    escaped = html.escape(hostile)
    for number in range(2):
        what = f"{escaped}, split test, 7 images with 9 captions, from /{number}"
        assert what in told["data"]
    assert told["checkpoint"] == "the best one of each run: see the runs below"
    for path in sweep.glob("*/results.json"):  # of any form
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "data": {"splits": [1], "images": "x"}})
        )
    assert compare([str(sweep)], page=str(page)) == 0


def test_the_work_grows_with_the_runs_and_not_with_their_square(tmp_path, capsys, monkeypatch):
    calls: Counter[str] = Counter()
    for module, name in (("runs.run", "read_run"), ("cli.compare", "paired_difference")):
        module = sys.modules[f"captionlab.{module}"]
        before = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, name=name, before=before: (calls.update([name]), before(*a))[1]
        )
    for number in range(100):
        write_run(tmp_path / f"{number}", seed=number % 5, rate=1e-3 * (1 + number // 5))
    assert compare([str(tmp_path)]) == 0
    assert calls == {"read_run": 100, "paired_difference": 19}
    assert "100 runs" in capsys.readouterr().out


def browser() -> str | None:
    return next((b for b in ("chromium", "google-chrome") if shutil.which(b)), None)


@pytest.mark.skipif(browser() is None, reason="no browser")
def test_the_page_works_in_a_browser(sweep, tmp_path):
    page = tmp_path / "report.html"
    compare([str(sweep)], page=str(page))
    assert "</script> image" not in page.read_text()  # a caption cannot end the script
    done = subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu"),
            *("--virtual-time-budget=5000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    shown = done.stdout
    body = shown[shown.index("<tbody>") : shown.index("</tbody>")]
    assert body.count("<tr") == 4
    assert "≈ " in body
    assert shown.count("<polyline") == 7
    assert shown.count("<li><img") + shown.count("<li><span></span><ul>") == IMAGES
    assert "a large dog &lt;/script&gt; image-7" in shown
