"""VQA's official questions and annotations, and the folders their photographs live in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import ClassVar

from captionlab.core.errors import UserError
from captionlab.data.readers import fields
from captionlab.data.readers.coco import CocoImages
from captionlab.data.readers.files import data_root, find, listed, nearest
from captionlab.data.readers.json_files import read_json
from captionlab.data.records import CaptionRecord, Entry, Reader
from captionlab.text.prompts import Prompt

SPLITS = ("train", "val")
# VQA v2, and v1, whose names OK-VQA took over
QUESTIONS = (
    "v2_OpenEnded_mscoco_SPLIT2014_questions.json",
    "OpenEnded_mscoco_SPLIT2014_questions.json",
)
ANNOTATIONS = ("v2_mscoco_SPLIT2014_annotations.json", "mscoco_SPLIT2014_annotations.json")
FOLDERS = ("", "annotations/", "questions/", "Annotations/", "Questions/")
_NUMBER = re.compile(r"%0?\d{0,2}d")
_MOST_NUMBER = 10**18

Asked = dict[int | str, tuple[int, Prompt]]  # the image and the prompt of each question's id
Answered = dict[int | str, list[str]]


class VqaV2(Reader):
    """VQA's two official JSON files a split: train and val (answers of its test set are not public).

    Goyal et al., "Making the V in VQA Matter", CVPR 2017: 82,783 + 40,504 photographs of COCO 2014,
    443,757 + 214,354 questions of ten answers each. Files of the same form under other names (v1,
    OK-VQA, one's own) are read too. An image is one record; its captions are all answers to all of its
    questions.

    Args:
        questions, annotations: names of the files, SPLIT in the place of train or val; null: the
            official ones, at the root or in `questions/` and `annotations/`.
        image_folder, image_name: where a photograph lies; SPLIT as above, %012d its number.

    Raises:
        UserError: if no file is there, one has no partner, or one is not what it should be.
    """

    LAYOUT: ClassVar[str] = (
        "ROOT/v2_OpenEnded_mscoco_train2014_questions.json, ROOT/v2_mscoco_train2014_annotations.json, "
        "the same of val2014, ROOT/train2014/, ROOT/val2014/"
    )

    def __init__(
        self,
        *,
        root: str | None = None,
        questions: str | None = None,
        annotations: str | None = None,
        image_folder: str = "SPLIT2014",
        image_name: str = "COCO_SPLIT2014_%012d.jpg",
        encoding: str = "utf-8",
        language: str = "en",
    ) -> None:
        folder = data_root(root, self.LAYOUT)
        if len(_NUMBER.findall(image_name)) != 1 or image_name.count("%") != 1:
            raise UserError(
                f"data.source.image_name={image_name} must hold one number, as COCO_SPLIT2014_%012d.jpg does"
            )
        files = {
            split: pair
            for split in SPLITS
            if (pair := self._files(folder, split, questions, annotations)) is not None
        }
        if not files:
            name = questions or QUESTIONS[0]
            place = folder / name.replace("SPLIT", "train")
            raise UserError(
                f"data.root={root} has no questions ({place.name}): {nearest(place)}; "
                f"expected layout: {self.LAYOUT}"
            )
        folders = tuple(dict.fromkeys(image_folder.replace("SPLIT", split) for split in files))
        images = CocoImages(folder, folders, self.LAYOUT)
        entries = (
            Entry(
                split,
                number,
                images.path(
                    image_folder.replace("SPLIT", split),
                    image_name.replace("SPLIT", split) % number,
                ),
                answers,
                str(asked),
                prompts,
            )
            for split, (asked, answered) in files.items()
            for number, answers, prompts in answered_images(asked, answered, encoding)
        )
        super().__init__(entries, language=language, origin=folder)
        self.announce("VQA's questions and annotations")

    def records(self, split: str) -> Sequence[CaptionRecord]:
        """Return the records of one split; UserError for one that is unknown, empty or not answered."""
        if split.startswith("test") and split not in self.splits:
            raise UserError(
                "the answers to VQA's test questions are not public: score val (split=val)"
            )
        return super().records(split)

    def _files(
        self, folder: Path, split: str, questions: str | None, annotations: str | None
    ) -> tuple[Path, Path] | None:
        """Return both files of a split, None where neither is there."""
        asked = find(folder, _places(split, QUESTIONS if questions is None else (questions,)))
        named = ANNOTATIONS if annotations is None else (annotations,)
        if asked is not None and questions is None:
            # those of v2 with v2, of v1 with v1
            named = ANNOTATIONS[:1] if asked.name.startswith("v2") else ANNOTATIONS[1:]
        answered = find(folder, _places(split, named))
        if asked is None and answered is None:
            return None
        if asked is None or answered is None:
            there, lacks = (answered, "questions") if asked is None else (asked, "annotations")
            raise UserError(
                f"{there} has no file of {lacks} beside it, and without answers nothing is learned or "
                f"scored: {nearest(folder / named[0].replace('SPLIT', split))}; "
                f"expected layout: {self.LAYOUT}"
            )
        return asked, answered


def question_files() -> tuple[str, ...]:
    """Return the places below the root where the official questions are looked for."""
    return tuple(place for split in SPLITS for place in _places(split, QUESTIONS))


def _places(split: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{folder}{name.replace('SPLIT', split)}" for name, folder in product(names, FOLDERS)
    )


def answered_images(
    questions: Path, annotations: Path, encoding: str = "utf-8"
) -> Iterator[tuple[int, list[str], list[Prompt]]]:
    """Yield image id, answers, and the prompt of each answer; UserError for what does not fit."""
    asked = _questions(questions, encoding)
    answered = _answers(annotations, asked, questions, encoding)
    without = [number for number in asked if number not in answered]
    if without:
        raise UserError(
            f"{annotations} answers {len(answered):,} of the {len(asked):,} questions in {questions}; "
            f"without an answer: {listed(without)}"
        )
    by_image: dict[int, tuple[list[str], list[Prompt]]] = {}
    for number, (image, prompt) in asked.items():
        answers, prompts = by_image.setdefault(image, ([], []))
        answers += answered[number]
        prompts += [prompt] * len(answered[number])
    yield from ((image, *texts) for image, texts in by_image.items())


def _questions(file: Path, encoding: str) -> Asked:
    asked: Asked = {}
    for place, item in _objects(file, "questions", encoding):
        number = fields.identifier(_field(item, "question_id", place), place, "question_id")
        image = _image_number(item, place)
        text = " ".join(fields.text(_field(item, "question", place), place, "question").split())
        if not text:
            raise UserError(f"{place}: 'question' is empty")
        if number in asked:
            raise UserError(
                f"{place}: question_id {number!r} is that of {asked[number][1].question[:60]!r} already"
            )
        asked[number] = image, Prompt(question=text, id=number)
    if not asked:
        raise UserError(f"{file} holds no questions")
    return asked


def _answers(file: Path, asked: Asked, questions: Path, encoding: str) -> Answered:
    answered: Answered = {}
    for place, item in _objects(file, "annotations", encoding):
        number = fields.identifier(_field(item, "question_id", place), place, "question_id")
        if number not in asked:
            raise UserError(f"{place} answers question {number!r}, which {questions} does not hold")
        if number in answered:
            raise UserError(f"{place}: question {number!r} is answered already")
        image = _image_number(item, place)
        if image != asked[number][0]:
            raise UserError(
                f"{place}: question {number!r} is about image {asked[number][0]} in {questions}, and "
                f"about {image} here"
            )
        answered[number] = _texts(_field(item, "answers", place), place)
    return answered


def _texts(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{place}: 'answers' must be a list of answers, not {fields.named(value)}")
    texts = []
    for index, one in enumerate(value):
        where = f"{place}.answers[{index}]"
        # some thousand different answers are given millions of times
        texts.append(sys.intern(fields.text(_field(one, "answer", where), where, "answer")))
    return texts


def _objects(file: Path, key: str, encoding: str) -> Iterator[tuple[str, object]]:
    """Yield place and value of each item of the list under a key; UserError where there is none."""
    data = read_json(file, encoding)
    items = data.get(key) if isinstance(data, dict) else None
    if not isinstance(items, list):
        keys = listed(sorted(data)) if isinstance(data, dict) else fields.named(data)[:60]
        raise UserError(f"{file} is no file of VQA's {key}: it holds {keys}, and no list {key!r}")
    return ((f"{file}: {key}[{index}]", item) for index, item in enumerate(items))


def _field(item: object, key: str, place: str) -> object:
    if not isinstance(item, Mapping):
        raise UserError(f"{place} must be an object, not {fields.named(item)}")
    if key not in item:
        raise UserError(f"{place} has no {key!r} (it has {listed(sorted(map(str, item)), 8)})")
    return item[key]


def _image_number(item: object, place: str) -> int:
    number = _field(item, "image_id", place)
    if type(number) is not int or not 0 <= number < _MOST_NUMBER:
        raise UserError(
            f"{place}: 'image_id' must be the number of a photograph, not {fields.named(number)}"
        )
    return number
