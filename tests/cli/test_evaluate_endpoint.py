import json
from dataclasses import replace
from pathlib import Path

import pytest

from captionlab.applications.endpoint.wording import PROMPTS
from captionlab.cli.compare import compare
from captionlab.cli.main import main
from captionlab.metrics.statistics_file import StatisticsFile
from captionlab.runs.comparison import group_runs
from captionlab.runs.run import read_run, read_runs
from commands_support import SMALL
from endpoint_support import Asked, make_pictures, serving

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

    def as_the_run(endpoint, records, asked):
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


# --- data with questions, languages, styles ----------------------------------------------------------


def asked_text(asked: Asked) -> str:
    return asked.body["messages"][0]["content"][0]["text"]


QUESTIONS = ["data=shapes_questions", *DATA, "--limit", "3"]


def test_questions_are_asked_each_and_their_answers_are_scored(tmp_path: Path, capsys):
    from captionlab.data.readers.shapes import ShapesQuestions

    sizes = {"train_size": 128, "val_size": 8, "test_size": 8}
    records = list(ShapesQuestions(**sizes).records("test"))[:3]
    right = {p.question: c for r in records for p, c in zip(r.prompts, r.captions, strict=True)}
    usual = " Answer with one word or a short phrase."

    def truly(asked: Asked) -> None:
        asked.say(right[asked_text(asked).removesuffix(usual)])

    with serving(truly) as server:
        assert run(server.url, *QUESTIONS, "--out", str(tmp_path / "out")) == 0
        count = sum(len(record.prompts) for record in records)
        assert {asked_text(one) for one in server.asked} == {f"{q}{usual}" for q in right}
        assert f"3 images, {count} questions from" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    prompts = [prompt.id for record in records for prompt in record.prompts]
    captions = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert sorted(one["image_id"] for one in captions) == sorted(prompts)
    # one wording may be asked of several pictures, with different answers
    assert results["test/exact_match"] > 0.5
    assert results["settings"]["data"]["images"] == 3
    assert results["settings"]["endpoint"]["prompt"] == f"{{question}}{usual}"
    assert compare([str(tmp_path / "out")], by="exact_match") == 0


def test_a_template_of_ones_own_is_asked_and_what_was_asked_is_the_key_of_an_answer(tmp_path: Path):
    with serving(lambda asked: asked.say("yes")) as server:
        for number, template in enumerate(("Q: {question} A:", "Be short.", "Be short.")):
            out = str(tmp_path / f"out-{number}")
            assert run(server.url, *QUESTIONS, "--prompt", template, "--out", out) == 0
        texts = [asked_text(one) for one in server.asked]
    own = {text.removeprefix("Q: ").removesuffix(" A:") for text in texts if text[:2] == "Q:"}
    after = {text.removeprefix("Be short. ") for text in texts if text[:2] == "Be"}
    assert own == after
    assert all(text.endswith("?") for text in own)
    assert len(texts) == 2 * len([text for text in texts if text[:2] == "Q:"])


def test_a_place_for_a_question_needs_data_with_questions(capsys):
    assert run("http://127.0.0.1:1/v1", *DATA, "--prompt", "{question} Shortly.") == 2
    assert "--prompt has a place for {question}, and nothing in split 'test'" in (
        capsys.readouterr().err
    )


def test_each_style_is_asked_by_its_name_and_scored_by_itself(tmp_path: Path):
    pictures = make_pictures(tmp_path / "data", 4)
    lines = ["image,caption,style,split"]
    for path in pictures:
        lines += [f"{path.name},a dog {path.stem},terse,test", f"{path.name},see the dog,[/b],test"]
    (tmp_path / "data" / "captions.csv").write_text("\n".join(lines) + "\n")

    def by_style(asked: Asked) -> None:
        asked.say("a cat" if "Style: terse." in asked_text(asked) else "see the dog")

    out = tmp_path / "out"
    with serving(by_style) as server:
        code = run(server.url, "data=csv", f"data.root={tmp_path / 'data'}", "--out", str(out))
        assert code == 0
        assert len(server.asked) == 8
    results = json.loads((out / "results.json").read_text())
    assert results["test/[/b]/bleu_1"] == pytest.approx(1.0)
    assert 0 < results["test/terse/bleu_1"] < 1
    assert len(json.loads((out / "captions.json").read_text())) == 8


def test_scores_that_the_data_bring_along_are_there(tmp_path: Path):
    out = tmp_path / "out"
    with serving(answer) as server:
        options = ("data=shapes_styles", *DATA, "--limit", "2", "--out", str(out))
        assert run(server.url, *options) == 0
        texts = [asked_text(one) for one in server.asked]
    styles = {text.rpartition("Style: ")[2] for text in texts}
    assert {"terse.", "ornate."} <= styles
    results = json.loads((out / "results.json").read_text())
    assert "test/style_obeyed" in results
    assert "test/terse/cider" in results


def test_each_language_is_asked_in_itself(tmp_path: Path):
    shapes = {"_target_": "captionlab.data.readers.Shapes", "language": "en"}
    shapes |= {"train_size": 4, "val_size": 2, "test_size": 2, "image_size": 32}
    both = {"en": shapes, "zh": {**shapes, "language": "zh"}}
    sources = json.dumps(both).replace('"', "")
    source = f"{{_target_: captionlab.data.readers.Joined, by: language, sources: {sources}}}"
    (tmp_path / "conf" / "data").mkdir(parents=True)
    text = f"defaults:\n  - base\n  - _self_\nname: both\nsource: {source}\n"
    (tmp_path / "conf" / "data" / "both.yaml").write_text(text)

    def in_its_language(asked: Asked) -> None:
        asked.say("a red circle" if asked_text(asked).isascii() else "一个红色的圆")

    out = tmp_path / "out"
    with serving(in_its_language) as server:
        assert run(server.url, "data=both", "--config-dir", "conf", "--out", str(out)) == 0
        texts = {asked_text(one) for one in server.asked}
    assert texts == {PROMPTS["en"], PROMPTS["zh"]}
    results = json.loads((out / "results.json").read_text())
    assert {"test/en/bleu_1", "test/zh/bleu_1"} <= results.keys()
    assert results["settings"]["endpoint"]["prompt"].count("\n") == 1


def test_scores_of_the_same_answers_are_those_of_a_checkpoint(tmp_path: Path):
    """Groups, answers and means, of captions that a checkpoint's metrics and a server's share."""
    from captionlab.data.readers.shapes import ShapesQuestions
    from captionlab.data.scored_records import scored_records
    from captionlab.evaluation.groups import groups_of
    from captionlab.evaluation.score import score_records
    from captionlab.metrics.caption_metrics import CaptionMetrics
    from captionlab.text.scoring import scoring_tokenizer

    source = ShapesQuestions(train_size=4, val_size=9, test_size=2)
    records = [
        replace(r, prompts=tuple(replace(p, style=f"s{n % 2}") for n, p in enumerate(r.prompts)))
        for r in source.records("val")
    ]
    scored = scored_records(records)
    prompts = {record.image_id: record.prompts[0] for record in scored}
    captions = {r.image_id: r.captions[0] if n % 3 else "yes" for n, r in enumerate(scored)}
    groups = groups_of([], ["s0", "s1"], language="en", prompt=prompts.__getitem__, meteor={})
    metrics = CaptionMetrics(scoring_tokenizer("en"), groups=groups, answers=True)
    references = [record.captions for record in scored]
    metrics.update(list(captions), list(captions.values()), references)
    expected = metrics.compute().corpus
    got = score_records(scored, captions, language="en", meteor=False, prompts=prompts).corpus
    assert {"exact_match", "s0/cider", "s1/bleu_1"} <= got.keys()
    assert got == expected


def test_scores_that_the_data_bring_along_are_there_too(tmp_path: Path):
    from captionlab.cli import evaluate_endpoint

    def true_captions(endpoint, records, asked):
        return {record.image_id: record.captions[0] for record in records}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_endpoint, "caption_records", true_captions)
        out = str(tmp_path / "out")
        assert run("http://127.0.0.1:1/v1", "data=shapes_styles", *DATA, "--out", out) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    for name in ("style_obeyed", "terse/style_obeyed", "fact_precision", "paragraph/fact_recall"):
        assert results[f"test/{name}"] > 0.9, name
