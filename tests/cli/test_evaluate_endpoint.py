import json
from pathlib import Path

import pytest

from captionlab.cli.compare import compare
from captionlab.cli.main import main
from captionlab.metrics.statistics_file import StatisticsFile
from captionlab.runs.comparison import group_runs
from captionlab.runs.run import read_run, read_runs
from commands_support import SMALL
from endpoint_support import Asked, serving

DATA = [one for one in SMALL if one.startswith("data.source")]
KEY = "sk-proj-0123456789abcdefghijklmnop"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("CAPTIONLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def answer(asked: Asked) -> None:
    asked.say("a red circle" if asked.red > 12 else "a blue square next to a star")


def run(url: str, *arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--endpoint", url, "--model", "org/vlm", "meteor=false", *arguments])
    return end.value.code


def test_a_model_of_a_server_stands_in_the_same_table(finished_run: Path, tmp_path: Path, capsys):
    with serving(answer) as server:
        assert run(server.url, *DATA) == 0
    folder = tmp_path / "runs" / "endpoint-org_vlm" / "shapes-test"
    theirs = {path.name for path in finished_run.iterdir()}
    written = {path.name for path in folder.iterdir()}
    assert written - {"config.yaml"} <= theirs
    assert {"results.json", "captions.json", "references.json", "statistics.npz"} <= written
    ours, other = read_run(folder), read_run(finished_run)
    missing = {name for name in other.results if name.startswith("test/")} - set(ours.results)
    assert missing == {
        *("test/loss", "test/balance", "test/div_1", "test/div_2", "test/mbleu"),
        *("test/self_cider", "test/oracle_cider", "test/average_cider"),
    }
    assert ours.data["splits"]["test"] == other.data["splits"]["test"]
    assert (folder / "references.json").read_text() == (
        finished_run / "references.json"
    ).read_text()
    capsys.readouterr()
    assert compare([str(folder), str(finished_run)], page=str(tmp_path / "c.html")) == 0
    table = capsys.readouterr().out
    assert "org/vlm" in table
    assert " to " in table  # the interval of the paired difference
    assert "org/vlm" in (tmp_path / "c.html").read_text()


def test_scores_of_the_same_captions_are_those_of_a_checkpoint(finished_run: Path, tmp_path: Path):
    captions = json.loads((finished_run / "captions.json").read_text())
    from captionlab.cli import evaluate_endpoint

    def as_the_run(endpoint, records):
        return {one["image_id"]: one["caption"] for one in captions}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_endpoint, "caption_records", as_the_run)
        assert run("http://127.0.0.1:1/v1", *DATA, "--out", str(tmp_path / "out")) == 0
    before = json.loads((finished_run / "results.json").read_text())
    after = json.loads((tmp_path / "out" / "results.json").read_text())
    names = [name for name in after if name.startswith("test/")]
    assert len(names) >= 9
    for name in names:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name
    first = StatisticsFile(tmp_path / "out" / "statistics.npz")
    second = StatisticsFile(finished_run / "statistics.npz")
    assert first.image_ids == second.image_ids
    assert "loss" not in first
    for name in ("cider", "bleu_4", "length", "novel", "truth"):
        assert (first[name].values == second[name].values).all()


def test_another_split_a_part_of_it_and_the_files_of_other_settings(tmp_path: Path, capsys):
    out = str(tmp_path / "out")
    with serving(answer) as server:
        assert run(server.url, *DATA, "split=val", "--limit", "3", "--out", out) == 0
        assert len(server.asked) == 3
        assert run(server.url, *DATA, "split=val", "--limit", "3", "--out", out) == 0
        assert len(server.asked) == 3
        assert run(server.url, *DATA, "split=val", "--out", out) == 2
        assert "results of other settings" in capsys.readouterr().err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["data"]["images"] == 3
    assert "val/cider" in results
    assert len(json.loads((tmp_path / "out" / "captions.json").read_text())) == 3


def test_runs_of_one_row_differ_in_their_seed_alone(tmp_path: Path):
    with serving(answer) as server:
        for more in ([], ["--parameter", "seed=2"], ["--limit", "4"], ["--prompt", "Say."]):
            assert run(server.url, *DATA, *more) == 0
    runs = read_runs([tmp_path / "runs"])
    groups = group_runs(runs)
    assert sorted(len(group.runs) for group in groups) == [1, 1, 2]


@pytest.mark.filterwarnings("ignore:CIDEr is left out")
def test_a_single_image_and_words_of_html_are_no_problem(tmp_path: Path):
    hostile = "</script><script>alert(1)</script> [/] ${x}"
    with serving(lambda asked: asked.say(hostile)) as server:
        assert run(server.url, *DATA, "--limit", "1", "--prompt", hostile) == 0
    folder = tmp_path / "runs" / "endpoint-org_vlm" / "shapes-test"
    assert json.loads((folder / "captions.json").read_text())[0]["caption"] == hostile
    assert compare([str(folder)], by="bleu_1", page=str(tmp_path / "c.html")) == 0
    for page in (folder / "gallery.html", tmp_path / "c.html"):
        assert "<script>alert" not in page.read_text()


def test_an_image_without_a_caption_counts_as_an_empty_one(tmp_path: Path, capsys):
    def refuse(asked: Asked) -> None:
        answer(asked) if asked.number else asked.say(None, refusal="No.")

    with serving(refuse) as server:
        assert run(server.url, *DATA, "--concurrency", "1", "--out", str(tmp_path / "out")) == 0
    captions = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert [one["caption"] for one in captions].count("") == 1
    assert "1 images got no caption, which counts as an empty one: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["decoding=beam"], "decoding cannot be set here"),
        (["data.features=x"], "data.features has no effect"),
        (["data/tokenizer=subword"], "data.tokenizer has no effect"),
        (["data.blank_images=true"], "has no effect on an evaluation"),
        (["split=nowhere"], "has no split 'nowhere'"),
        (["best.ckpt"], "best.ckpt"),
        (["--limit", "0"], "--limit 0 must be at least 1"),
        (["meteor=3"], "meteor=3 is not true or false"),
        (["--key-variable", KEY], "--key-variable wants the name"),
    ],
)
def test_what_an_evaluation_cannot_use_is_refused(arguments: list[str], part: str, capsys):
    assert run("http://127.0.0.1:1/v1", *DATA, *arguments) == 2
    error = capsys.readouterr().err
    assert part in error
    assert KEY not in error


def test_the_key_stands_in_no_file(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    with serving(lambda asked: asked.say(f"a dog {asked.headers['Authorization']}")) as server:
        assert run(server.url, *DATA, "--key-variable", "MY_KEY") == 0
        assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    shown = capfd.readouterr()
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert KEY.encode() not in everything
    assert KEY not in shown.out + shown.err
    assert (
        "a dog Bearer ***"
        in (tmp_path / "runs/endpoint-org_vlm/shapes-test/captions.json").read_text()
    )
