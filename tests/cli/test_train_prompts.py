"""Questions and languages from training to a photo: what is read, scored, written and asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from captionlab import Prompt, load_captioner
from captionlab.cli.evaluate import evaluate
from captionlab.cli.predict import predict
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from commands_support import SMALL, run_train

ASKED = Prompt(question="Is there a red circle?")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    run_train(folder, *SMALL, "data=shapes_questions", "hydra.run.dir=run")
    return folder / "run"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_answers_are_scored_and_written_with_their_questions(run: Path):
    results = json.loads((run / "results.json").read_text())
    assert 0 <= results["test/exact_match"] <= 1
    answers = json.loads((run / "answers.json").read_text())
    captions = {
        c["image_id"]: c["caption"] for c in json.loads((run / "captions.json").read_text())
    }
    assert len(answers) == len(captions) > 8  # several questions an image
    for answer in answers:
        assert captions[answer["question_id"]] == answer["answer"]
        assert answer["question"].endswith("?")
    assert len({answer["image_id"] for answer in answers}) == 8
    page = (run / "gallery.html").read_text()
    assert f'<p class="asked" dir="auto">{answers[0]["question"]}</p>' in page
    assert "<answer>" in read_checkpoint(run / "checkpoints/best.ckpt").tokenizer.controls


def test_a_photo_is_asked(run: Path, photo: Path, tmp_path: Path):
    out = tmp_path / "answers.jsonl"
    checkpoint = str(run / "checkpoints/best.ckpt")
    assert predict(checkpoint, [str(photo)], out=str(out), prompt=ASKED) == 0
    line = json.loads(out.read_text())
    assert line["question"] == ASKED.question
    assert line["caption"] == load_captioner(checkpoint)(photo, ASKED)
    begun = load_captioner(checkpoint)(photo, Prompt(ASKED.question, beginning="yes"))
    assert begun.startswith("yes")


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (Prompt(style="terse"), "style 'terse': this captioner knows no styles"),
        (Prompt(language="zh"), "language 'zh': this captioner knows no languages"),
        (Prompt(question="Wo ist mein Zeppelin?"), "the captioner knows none of its words"),
        (Prompt(beginning="a zeppelin"), "the captioner does not know the word 'zeppelin'"),
    ],
)
def test_what_was_not_learned_is_refused(run: Path, photo: Path, prompt, sentence, tmp_path: Path):
    out = tmp_path / "none.jsonl"
    with pytest.raises(UserError, match=sentence):
        predict(str(run / "checkpoints/best.ckpt"), [str(photo)], out=str(out), prompt=prompt)
    assert not out.exists()


def test_evaluation_asks_the_same_questions(run: Path, tmp_path: Path):
    evaluate(str(run / "checkpoints/best.ckpt"), ["split=test"], out=str(tmp_path / "out"))
    again = json.loads((tmp_path / "out/results.json").read_text())
    first = json.loads((run / "results.json").read_text())
    assert again["test/exact_match"] == pytest.approx(first["test/exact_match"])
    assert (tmp_path / "out/answers.json").read_text() == (run / "answers.json").read_text()


def test_a_captioner_of_questions_that_is_asked_none_says_so(
    run: Path, photo: Path, tmp_path: Path, capsys
):
    checkpoint = str(run / "checkpoints/best.ckpt")
    sources = [option for option in SMALL if option.startswith("data.source")]
    evaluate(checkpoint, ["data=shapes", *sources], out=str(tmp_path / "out"))
    assert "was trained with questions, and shapes test has none" in capsys.readouterr().out
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert "test/cider" in results
    assert "test/exact_match" not in results
    predict(checkpoint, [str(photo)])
    assert "trained with questions: --ask QUESTION" in capsys.readouterr().err
    predict(checkpoint, [str(photo)], prompt=Prompt(question="what color is the ball?"))
    assert capsys.readouterr().err == ""


def test_self_critical_training_goes_on_behind_questions(run: Path, tmp_path: Path):
    more = [
        "objective=self_critical",
        f"init_from={run}/checkpoints/best.ckpt",
        "trainer.max_epochs=1",
    ]
    own = [option for option in SMALL if "max_epochs" not in option]
    run_train(tmp_path, *own, "data=shapes_questions", *more, "hydra.run.dir=run")
    with (tmp_path / "run/metrics.csv").open() as file:
        rewards = [row["train/self_critical/reward"] for row in csv.DictReader(file)]
    assert any(rewards)


def test_adversarial_training_refuses_questions(run: Path, tmp_path: Path, capsys):
    more = ["objective=adversarial", f"init_from={run}/checkpoints/best.ckpt"]
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *SMALL, "data=shapes_questions", *more, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "say data.prompts=false" in capsys.readouterr().err


def bilingual(root: Path) -> None:
    """Eight pictures in the layout of Flickr8k, with captions in English and in Chinese."""
    (root / "Images").mkdir(parents=True)
    colors = {"red": "红", "blue": "蓝"}
    english, chinese = [], []
    for number in range(24):
        color = ("red", "blue")[number % 2]
        name = f"{number}.jpg"
        Image.new("RGB", (40, 40), color).save(root / "Images" / name)
        english += [f"{name}#{k}\tA {color} picture number {k} ." for k in range(2)]
        chinese += [f"{name}#zhc#{k} 一张{colors[color]}色的图片{k}" for k in range(2)]
    (root / "Flickr8k.token.txt").write_text("\n".join(english) + "\n", "utf-8")
    (root / "flickr8kzhc.caption.txt").write_text("\n".join(chinese) + "\n", "utf-8")
    for split, first, last in (("train", 0, 16), ("dev", 16, 20), ("test", 20, 24)):
        names = "".join(f"{number}.jpg\n" for number in range(first, last))
        (root / f"Flickr_8k.{split}Images.txt").write_text(names)


def test_one_captioner_of_two_languages_is_scored_in_each(tmp_path: Path, photo: Path):
    bilingual(tmp_path / "data")
    own = [option for option in SMALL if ".source." not in option]
    run_train(
        tmp_path, *own, "data=flickr8k_en_zh", f"data.root={tmp_path / 'data'}", "hydra.run.dir=run",
        "data.tokenizer.threshold=1", "optimizer.lr=1e-2", "trainer.max_epochs=15", "data.batch_size=8",
    )  # fmt: skip
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert {"test/cider", "test/en/cider", "test/zh/cider"} <= results.keys()
    captioner = load_captioner(tmp_path / "run/checkpoints/best.ckpt")
    assert captioner(photo, Prompt(language="en")).isascii()
    assert not captioner(photo, Prompt(language="zh")).isascii()
    assert captioner(photo) == captioner(photo, Prompt(language="en"))
    checkpoint, out = str(tmp_path / "run/checkpoints/best.ckpt"), str(tmp_path / "zh")
    evaluate(checkpoint, ["data=flickr8k_cn", f"data.root={tmp_path / 'data'}"], out=out)
    chinese = json.loads((tmp_path / "zh/results.json").read_text())
    assert chinese["test/cider"] == pytest.approx(results["test/zh/cider"])


def test_a_captioner_that_learned_no_questions_cannot_go_on_with_them(tmp_path: Path, capsys):
    own = [option for option in SMALL if "max_epochs" not in option]
    run_train(tmp_path, *own, "trainer.max_epochs=1", "hydra.run.dir=plain")
    start = f"init_from={tmp_path}/plain/checkpoints/last.ckpt"
    with pytest.raises(SystemExit) as ended:
        run_train(tmp_path, *SMALL, "data=shapes_questions", start, "hydra.run.dir=run")
    assert ended.value.code == 2
    assert "was trained without <answer>" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
