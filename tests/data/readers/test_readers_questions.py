"""Questions and their answers: in tables and JSON of one's own, and in VQA's official files."""

import json
import re
import tracemalloc
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers import (
    Auto,
    CsvCaptions,
    JsonCaptions,
    JsonlCaptions,
    TableCaptions,
    VqaV2,
)
from captionlab.data.records import CaptionSource
from captionlab.text.prompts import Prompt
from data_support import write_images, write_text

ROWS = [
    {"image": "a.jpg", "question": "What?", "answers": ["yes", "no", "yes"], "question_id": 7},
    {"image": "a.jpg", "question": "Where?", "answers": ["left"], "question_id": 8},
    {"image": "b.jpg", "question": "What?", "answers": ["two dogs"], "question_id": 9},
]
PAIRS = {
    "a.jpg": [("What?", "yes"), ("What?", "no"), ("What?", "yes"), ("Where?", "left")],
    "b.jpg": [("What?", "two dogs")],
}


def pairs(source: CaptionSource) -> dict[str, list[tuple[str, str]]]:
    """The (question, answer) of each image."""
    return {
        str(r.image_id): [(p.question, c) for p, c in zip(r.prompts, r.captions, strict=True)]
        for split in source.splits
        for r in source.records(split)
    }


def jsonl(root: Path, rows: object = ROWS, **how) -> JsonlCaptions:
    write_text(root / "captions.jsonl", "\n".join(map(json.dumps, rows)))
    return JsonlCaptions(root=str(root), **how)


def csv(root: Path, text: str, **how) -> CsvCaptions:
    write_text(root / "captions.csv", text)
    return CsvCaptions(root=str(root), **how)


# --- tables of one's own -----------------------------------------------------------------------------


def test_json_lines_of_questions_are_read_by_their_usual_names(tmp_path: Path):
    source = jsonl(tmp_path)
    assert pairs(source) == PAIRS
    (record,) = [r for s in source.splits for r in source.records(s) if r.image_id == "a.jpg"]
    assert record.prompts[0] == record.prompts[2] == Prompt(question="What?", id=7)


def test_one_json_file_of_questions(tmp_path: Path):
    write_text(tmp_path / "captions.json", json.dumps({"data": ROWS}))
    assert pairs(JsonCaptions(root=str(tmp_path))) == PAIRS


@pytest.mark.parametrize(
    "text",
    [
        'image,question,answers\na.jpg,What?,"[""yes"",""no"",""yes""]"\na.jpg,Where?,left\n'
        "b.jpg,What?,two dogs\n",
        "question,answer,file_name\nWhat?,yes,a.jpg\nWhat?,no,a.jpg\nWhat?,yes,a.jpg\n"
        "Where?,left,a.jpg\nWhat?,two dogs,b.jpg\n",
    ],
    ids=["list", "rows"],
)
def test_a_csv_has_answers_in_a_list_or_in_rows(tmp_path: Path, text: str):
    assert pairs(csv(tmp_path, text)) == PAIRS
    assert pairs(TableCaptions(root=str(tmp_path))) == PAIRS


def test_rows_of_one_question_without_id_are_one_question(tmp_path: Path):
    source = csv(tmp_path, "image,question,answer\na.jpg,What?,yes\na.jpg,What?,no\n")
    record = source.records("train")[0]
    assert len(set(record.prompts)) == 1


def test_columns_of_other_names_are_told(tmp_path: Path):
    text = "image,q,r,s,caption\na.jpg,What?,yes,no,A dog\n"
    source = csv(tmp_path, text, question_column="q", answers_column="r,s")
    assert pairs(source) == {"a.jpg": [("What?", "yes"), ("What?", "no")]}
    write_text(tmp_path / "bare.tsv", "a.jpg\tx\tWhat?\tyes\n")
    how = {"image_column": 1, "question_column": 3, "answers_column": 4}
    bare = TableCaptions(root=str(tmp_path), file="bare.tsv", **how)
    assert pairs(bare) == {"a.jpg": [("What?", "yes")]}


def test_vqas_objects_of_answers_are_read(tmp_path: Path):
    answers = [{"answer": "yes", "answer_id": 1}, {"answer": "no", "answer_id": 2}]
    source = jsonl(tmp_path, [{"image": "a.jpg", "question": "What?", "answers": answers}])
    assert pairs(source) == {"a.jpg": [("What?", "yes"), ("What?", "no")]}


def test_captions_and_questions_may_stand_in_one_file(tmp_path: Path):
    source = jsonl(tmp_path, [{"image": "a.jpg", "caption": "A dog."}, *ROWS])
    assert pairs(source)["a.jpg"] == [("", "A dog."), *PAIRS["a.jpg"]]


def test_a_table_with_captions_is_one_of_captions(tmp_path: Path):
    source = csv(tmp_path, "image,caption,question,answer\na.jpg,A dog.,What?,yes\n")
    record = source.records("train")[0]
    assert (record.captions, record.prompts) == (("A dog.",), ())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"question": 3}, r":1: 'question' must be text, not the number 3"),
        ({"question": " "}, r":1: no question here"),
        ({"question": "half \ud800"}, r":1: 'question' holds half of a character"),
        ({"answers": 3}, r":1: 'answers' must be text or a list of texts, not the number 3"),
        ({"answers": ["yes", 3]}, r":1: 'answers\[1\]' must be text, not the number 3"),
        ({"answers": [["yes"]]}, r":1: 'answers\[0\]' must be text, not the list"),
        ({"answers": [{"reply": "yes"}]}, r":1: answers\[0\] has no 'raw', 'caption' or 'answer'"),
        ({"question_id": 1.5}, r":1: 'question_id' must be a whole number or text"),
        ({"question_id": 9}, r":3: question_id 9 is that of 'What\?' about a.jpg already"),
        ({"question_id": 8}, r":2: question_id 8 is that of 'What\?' about a.jpg already"),
    ],
)
def test_a_question_with_a_flaw_gets_its_place(tmp_path: Path, change, sentence: str):
    with pytest.raises(UserError, match=sentence):
        jsonl(tmp_path, [{**ROWS[0], **change}, *ROWS[1:]])


def test_a_null_answer_is_no_answer(tmp_path: Path):
    with pytest.raises(UserError, match=r":1: no key 'caption'"):
        jsonl(tmp_path, [{"image": "a.jpg", "question": "What?", "answers": None}])
    with pytest.raises(UserError, match=r":1: no key 'answers'"):
        jsonl(tmp_path, [{"image": "a.jpg", "question": "What?"}], question_column="question")


@pytest.mark.parametrize(
    ("text", "how", "sentence"),
    [
        ("a.jpg,What?,\"['yes', 'no']\"", {}, r":2: 'answer' is no list in JSON"),
        ("a.jpg,What?," + "[" * 3000 + "]" * 3000, {}, r":2: 'answer' is no list in JSON"),
        ("a.jpg,What?,[1]", {}, r":2: 'answer\[0\]' must be text, not the number 1"),
        ("a.jpg,nan,yes", {}, r":2: no question here"),
        ("a.jpg,What?,yes", {"question_column": "asked"}, r"no column 'asked'"),
        ("a.jpg,What?,yes", {"answers_column": "said"}, r"no column 'said'"),
        (
            "a.jpg,What?,yes",
            {"answers_column": "answer", "caption_column": "question"},
            r"name those alone",
        ),
    ],
)
def test_a_table_of_questions_with_a_flaw_is_refused(tmp_path: Path, text, how, sentence: str):
    with pytest.raises(UserError, match=sentence):
        csv(tmp_path, f"image,question,answer\n{text}\n", **how)


def test_a_folder_with_questions_is_seen_and_one_line_says_so(tmp_path: Path, caplog):
    caplog.set_level("INFO", "captionlab")
    write_images(tmp_path, ["a.jpg", "b.jpg"])
    write_text(tmp_path / "qa.csv", "image,question,answer\na.jpg,How many?,2\nb.jpg,How many?,3\n")
    assert pairs(Auto(root=str(tmp_path)))["a.jpg"] == [("How many?", "2")]
    line = (
        r"table qa.csv \(columns image, question, answer\), .*; 2 pictures, 2 questions, 2 answers;"
    )
    assert any(re.search(line, record.getMessage()) for record in caplog.records)


# --- VQA's official files ----------------------------------------------------------------------------


def vqa_files(root: Path, split: str = "train", change=lambda questions, annotations: None) -> None:
    """Two questions of one photograph and one of another, ten answers each."""
    start = {"train": 0, "val": 100}[split]
    asked = [(start + 1, "What color?"), (start + 1, "How  many?"), (start + 2, "Where?")]
    questions = [
        {"image_id": image, "question": text, "question_id": 1000 * image + number}
        for number, (image, text) in enumerate(asked)
    ]
    annotations = [
        {
            "question_type": "what",
            "answer_type": "other",
            "multiple_choice_answer": "red",
            "image_id": item["image_id"],
            "question_id": item["question_id"],
            "answers": [
                {"answer": "red" if n else "blue", "answer_id": n + 1, "answer_confidence": "yes"}
                for n in range(10)
            ],
        }
        for item in questions
    ]
    change(questions, annotations)
    name = f"v2_OpenEnded_mscoco_{split}2014_questions.json"
    write_text(root / name, json.dumps({"info": {}, "questions": questions}))
    name = f"v2_mscoco_{split}2014_annotations.json"
    write_text(root / name, json.dumps({"annotations": annotations, "license": {}}))
    write_images(root / f"{split}2014", [f"COCO_{split}2014_{start + n:012d}.jpg" for n in (1, 2)])


def test_the_official_files_are_read(tmp_path: Path):
    vqa_files(tmp_path)
    vqa_files(tmp_path, "val")
    source = VqaV2(root=str(tmp_path))
    assert source.splits == ("train", "val")
    first, second = source.records("train")
    assert first.image_id == 1
    assert first.image == tmp_path / "train2014/COCO_train2014_000000000001.jpg"
    assert first.captions == ("blue", *["red"] * 9) * 2
    assert first.prompts[0] == Prompt(question="What color?", id=1000)
    assert first.prompts[19] == Prompt(question="How many?", id=1001)
    assert len(second.captions) == 10
    assert source.records("val")[0].image_id == 101


def test_the_answers_of_the_test_questions_are_not_public(tmp_path: Path):
    vqa_files(tmp_path)
    for split in ("test", "test-dev"):
        with pytest.raises(UserError, match="not public: score val"):
            VqaV2(root=str(tmp_path)).records(split)
    with pytest.raises(UserError, match="no split 'vall'"):
        VqaV2(root=str(tmp_path)).records("vall")


def test_a_look_at_the_folder_knows_the_official_files(tmp_path: Path, caplog):
    caplog.set_level("INFO", "captionlab")
    vqa_files(tmp_path)
    assert Auto(root=str(tmp_path)).records("train")
    line = "VQA's questions and annotations; 2 pictures, 3 questions, 30 answers; train 2"
    assert any(line in record.getMessage() for record in caplog.records)


def test_files_of_other_names_and_folders(tmp_path: Path):
    vqa_files(tmp_path)
    (tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json").rename(tmp_path / "q_train.json")
    (tmp_path / "v2_mscoco_train2014_annotations.json").rename(tmp_path / "a_train.json")
    write_images(tmp_path / "pictures", ["1.png", "2.png"])
    source = VqaV2(
        root=str(tmp_path),
        questions="q_SPLIT.json",
        annotations="a_SPLIT.json",
        image_folder="pictures",
        image_name="%d.png",
    )
    assert source.records("train")[1].image == tmp_path / "pictures/2.png"


def test_the_names_of_the_first_version_are_known(tmp_path: Path):
    vqa_files(tmp_path)
    for name in ("OpenEnded_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / f"v2_{name}").rename(tmp_path / "annotations" / name)
    assert len(VqaV2(root=str(tmp_path)).records("train")) == 2


def set_to(which: int, place: int, **values):
    return lambda *files: files[which][place].update(values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            set_to(0, 1, question_id=1000),
            r"questions\[1\]: question_id 1000 is that of 'What color",
        ),
        (set_to(0, 1, question=None), r"questions\[1\]: 'question' must be text, not null"),
        (set_to(0, 1, question=" \n"), r"questions\[1\]: 'question' is empty"),
        (set_to(0, 1, image_id="1"), r"questions\[1\]: 'image_id' must be the number of a photo"),
        (set_to(0, 1, image_id=True), r"'image_id' must be the number of a photograph, not true"),
        (set_to(0, 1, image_id=10**30), r"'image_id' must be the number of a photograph"),
        (set_to(0, 1, question_id=[1]), r"'question_id' must be a whole number or text"),
        (
            set_to(1, 1, question_id=5),
            r"annotations\[1\] answers question 5, which .*questions.json",
        ),
        (set_to(1, 1, question_id=1000), r"annotations\[1\]: question 1000 is answered already"),
        (set_to(1, 1, image_id=2), r"question 1001 is about image 1 in .*, and about 2 here"),
        (set_to(1, 1, answers=[]), r"annotations\[1\]: 'answers' must be a list of answers, not"),
        (
            set_to(1, 1, answers="red"),
            r"annotations\[1\]: 'answers' must be a list of answers, not",
        ),
        (
            set_to(1, 1, answers=[{"answer": 3}]),
            r"\.answers\[0\]: 'answer' must be text, not the n",
        ),
        (set_to(1, 1, answers=["red"]), r"\.answers\[0\] must be an object, not 'red'"),
        (
            set_to(1, 1, answers=[{"reply": "red"}]),
            r"\.answers\[0\] has no 'answer' \(it has reply\)",
        ),
        (lambda q, a: a.pop(), r"answers 2 of the 3 questions .*; without an answer: 2002"),
        (lambda q, a: q.clear(), r"questions.json holds no questions"),
        (lambda q, a: q.__setitem__(0, 7), r"questions\[0\] must be an object, not the number 7"),
        (lambda q, a: a[0].pop("answers"), r"annotations\[0\] has no 'answers'"),
    ],
)
def test_an_official_file_with_a_flaw_gets_its_place(tmp_path: Path, change, sentence: str):
    vqa_files(tmp_path, change=change)
    with pytest.raises(UserError, match=sentence):
        VqaV2(root=str(tmp_path))


def test_questions_without_annotations_are_refused(tmp_path: Path):
    vqa_files(tmp_path)
    (tmp_path / "v2_mscoco_train2014_annotations.json").unlink()
    with pytest.raises(
        UserError, match=r"has no file of annotations beside it, and without answers"
    ):
        VqaV2(root=str(tmp_path))


def test_annotations_without_questions_are_refused(tmp_path: Path):
    vqa_files(tmp_path)
    (tmp_path / "v2_OpenEnded_mscoco_train2014_questions.json").unlink()
    with pytest.raises(UserError, match="has no file of questions beside it"):
        VqaV2(root=str(tmp_path))


@pytest.mark.parametrize("name", ["%s.jpg", "%012d_%d.jpg", "a.jpg", "%012d%%.jpg"])
def test_a_name_without_one_number_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="must hold one number"):
        VqaV2(root=str(tmp_path), image_name=name)


def test_an_empty_folder_and_another_file_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="has no questions"):
        VqaV2(root=str(tmp_path))
    vqa_files(tmp_path)
    write_text(tmp_path / "v2_mscoco_train2014_annotations.json", '{"images": []}')
    with pytest.raises(UserError, match="is no file of VQA's annotations: it holds images"):
        VqaV2(root=str(tmp_path))


def test_ten_answers_share_one_prompt_and_equal_texts(tmp_path: Path):
    def many(questions, annotations):
        answers = annotations[0]["answers"]
        for number in range(3, 1500):
            asked = {"image_id": 1, "question": f"What is {number}?", "question_id": 10**6 + number}
            questions.append(asked)
            annotations.append({**asked, "answers": answers})

    vqa_files(tmp_path, change=many)
    tracemalloc.start()
    source = VqaV2(root=str(tmp_path))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    answers = len(source.records("train")[0].captions)
    # two references an answer, and a tenth of a question
    assert kept / answers < 60
