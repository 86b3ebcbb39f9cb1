"""Caption files changed at random are read, or end in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from captionlab.data.readers import (
    Conversations,
    ImageFolder,
    JsonCaptions,
    TableCaptions,
    VqaV2,
)
from captionlab.data.readers.coco import CocoOfficial
from captionlab.data.readers.flickr import (
    Flickr8kCaptionsTxt,
    Flickr8kPublished,
    Flickr30kPublished,
)
from captionlab.data.readers.karpathy import Karpathy
from captionlab.data.readers.tables import CsvCaptions, JsonlCaptions
from captionlab.data.records import CaptionSource, drop_missing
from fuzz_support import changed, cuts, ends_well

NAMES = [f"{number}_a.jpg" for number in range(5)]
SPLITS = dict(zip(NAMES, ("train", "train", "train", "val", "test"), strict=True))
TEXTS = ("A dog runs .", 'A "brown" dog, running .', "一只狗")


def _lines(form: str, head: str = "") -> str:
    rows = (form.format(name, number, text) for name in NAMES for number, text in enumerate(TEXTS))
    return head + "\n".join(rows) + "\n"


def _coco() -> str:
    images = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    captions = [{"image_id": n, "caption": t} for n in range(len(NAMES)) for t in TEXTS]
    return json.dumps({"images": images, "annotations": captions})


def _karpathy() -> str:
    sentences = [{"raw": text, "tokens": text.split()} for text in TEXTS]
    images = [
        {"filename": name, "split": split, "sentences": sentences, "imgid": number}
        for number, (name, split) in enumerate(SPLITS.items())
    ]
    return json.dumps({"images": images, "dataset": "flickr8k"})


def _jsonl() -> str:
    rows = [{"image": n, "captions": list(TEXTS), "split": s} for n, s in SPLITS.items()]
    return "\n".join(map(json.dumps, rows))


def _array() -> str:
    return json.dumps([{"filename": name, "captions": list(TEXTS)} for name in NAMES])


def _chat() -> str:
    turns = [{"from": "human", "value": "<image> ?"}, {"from": "gpt", "value": TEXTS[0]}]
    return json.dumps([{"image": name, "conversations": turns} for name in NAMES])


def _metadata() -> str:
    return "\n".join(json.dumps({"file_name": n, "text": TEXTS[1]}) for n in NAMES)


def _questions() -> str:
    rows = [
        {"image": n, "question": "Is it a dog?", "answers": list(TEXTS), "question_id": number}
        for number, n in enumerate(NAMES)
    ]
    return "\n".join(map(json.dumps, rows))


def _vqa(key: str) -> str:
    answers = [{"answer": text, "answer_id": number} for number, text in enumerate(TEXTS)]
    more = {"question": "A dog?"} if key == "questions" else {"answers": answers}
    items = [{"question_id": 10 * n, "image_id": n, **more} for n in range(len(NAMES))]
    return json.dumps({key: items, "license": {}})


def _read_vqa(root: str) -> CaptionSource:
    return VqaV2(root=root, image_folder="images", image_name="%d_a.jpg")


class Form(NamedTuple):
    file: str
    text: str
    read: Callable[[str], CaptionSource]


FORMS = {
    "csv": Form(
        "captions.csv",
        _lines('{},"{}: 狗, ""so""",', "image,caption,split\n"),
        lambda root: CsvCaptions(root=root),
    ),
    "jsonl": Form("captions.jsonl", _jsonl(), lambda root: JsonlCaptions(root=root)),
    "token": Form(
        "Flickr8k.token.txt", _lines("{}#{}\t{}"), lambda root: Flickr8kPublished(root=root)
    ),
    "captions_txt": Form(
        "captions.txt",
        _lines("{0},{2}", "image,caption\n"),
        lambda root: Flickr8kCaptionsTxt(root=root),
    ),
    "results_csv": Form(
        "results.csv",
        _lines("{}| {}| {}", "image_name| comment_number| comment\n"),
        lambda root: Flickr30kPublished(root=root, captions="results.csv"),
    ),
    "coco": Form(
        "annotations/captions_train2017.json",
        _coco(),
        lambda root: CocoOfficial(root=root, year=2017),
    ),
    "karpathy": Form(
        "dataset_flickr8k.json", _karpathy(), lambda root: Karpathy(root=root, dataset="flickr8k")
    ),
    "table": Form(
        "own.tsv", _lines("{0}\t{2}"), lambda root: TableCaptions(root=root, file="own.tsv")
    ),
    "array": Form("own.json", _array(), lambda root: JsonCaptions(root=root, file="own.json")),
    "by_name": Form(
        "names.json",
        json.dumps({name: list(TEXTS) for name in NAMES}),
        lambda root: JsonCaptions(root=root, file="names.json"),
    ),
    "annotations": Form(
        "coco.json", _coco(), lambda root: JsonCaptions(root=root, file="coco.json")
    ),
    "conversations": Form(
        "chat.json", _chat(), lambda root: Conversations(root=root, file="chat.json")
    ),
    "metadata": Form("metadata.jsonl", _metadata(), lambda root: ImageFolder(root=root)),
    "questions": Form(
        "questions.jsonl",
        _questions(),
        lambda root: JsonlCaptions(root=root, file="questions.jsonl"),
    ),
    "question_table": Form(
        "questions.csv",
        _lines('{},What? {},"[""yes"", ""{}""]"', "image,question,answers\n").replace(
            TEXTS[1], "no"
        ),
        lambda root: CsvCaptions(root=root, file="questions.csv"),
    ),
    "vqa_questions": Form(
        "v2_OpenEnded_mscoco_train2014_questions.json", _vqa("questions"), _read_vqa
    ),
    "vqa_annotations": Form("v2_mscoco_train2014_annotations.json", _vqa("annotations"), _read_vqa),
    "split_list": Form(
        "Flickr_8k.trainImages.txt", "\n".join(NAMES[:3]), lambda root: Flickr8kPublished(root=root)
    ),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds all forms, in which one file is changed at a time."""
    folder = tmp_path_factory.mktemp("data")
    for place in ("images", "train2017", "val2017", "annotations"):
        (folder / place).mkdir()
    for name in NAMES:
        for place in ("", "images", "train2017"):
            Image.new("RGB", (4, 3)).save(folder / place / name)
    Image.new("RGB", (4, 3)).save(folder / "val2017" / "z.jpg")
    for split, name in {"dev": NAMES[3], "test": NAMES[4]}.items():
        (folder / f"Flickr_8k.{split}Images.txt").write_text(name)
    other = {
        "images": [{"id": 99, "file_name": "z.jpg"}],
        "annotations": [{"image_id": 99, "caption": "a"}],
    }
    (folder / "annotations/captions_val2017.json").write_text(json.dumps(other))
    for form in FORMS.values():
        (folder / form.file).write_text(form.text, "utf-8")
    return folder


def whole_source(form: Form, root: Path) -> int:
    """Read all that training reads of a source; return the number of captions."""
    source = form.read(str(root))
    captions = 0
    for split in source.splits:
        records = source.records(split)
        assert all(type(text) is str and text.split() for r in records for text in r.captions)
        for text in (text for record in records for text in record.captions):
            text.encode()  # can be written again
        captions += sum(len(record.captions) for record in records)
        drop_missing(records, policy="skip", split=split)
    return captions


def try_bytes(form: Form, root: Path, content: bytes, what: object) -> bool:
    file = root / form.file
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        return ends_well(lambda: whole_source(form, root), root, what)
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("name", FORMS)
def test_the_whole_file_is_read(name: str, root: Path):
    assert whole_source(FORMS[name], root) >= len(TEXTS)


@pytest.mark.parametrize("name", FORMS)
def test_a_file_cut_at_fifty_places_is_read_or_refused(name: str, root: Path):
    form = FORMS[name]
    for number, content in enumerate(cuts(form.text.encode())):
        try_bytes(form, root, content, (name, number))


@pytest.mark.parametrize("name", FORMS)
def test_a_changed_file_is_read_or_refused(name: str, root: Path):
    form = FORMS[name]
    for seed in range(40):
        try_bytes(form, root, changed(form.text.encode(), seed), (name, seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_many_changed_files(name: str, root: Path):
    form = FORMS[name]
    for seed in range(40, 1_240):
        try_bytes(form, root, changed(form.text.encode(), seed), (name, seed))


VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    st.sampled_from(["", "../x", "\0", "\ud800", [], {}, [None], {"raw": 1}, 10**30, "x" * 300]),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below a JSON value."""
    found = [path] if path else []
    steps = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for step, child in steps:
        found += places(child, (*path, step))
    return found


def check_replaced(name: str, root: Path, data: st.DataObject) -> None:
    form = FORMS[name]
    rows = form.text.splitlines() if name == "jsonl" else [form.text]
    values = [json.loads(row) for row in rows]
    *parents, last = data.draw(st.sampled_from(places(values)))
    node: Any = values
    for step in parents:
        node = node[step]
    node[last] = data.draw(VALUES)
    try_bytes(form, root, "\n".join(map(json.dumps, values)).encode(), (name, values))


QUICK = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=list(HealthCheck)
)
LONG = settings(deadline=None, max_examples=1_000, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", ["coco", "karpathy", "jsonl"])
@QUICK
@given(data=st.data())
def test_any_value_in_any_place_is_read_or_refused(name: str, root: Path, data: st.DataObject):
    check_replaced(name, root, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco", "karpathy", "jsonl"])
@LONG
@given(data=st.data())
def test_many_values_in_many_places(name: str, root: Path, data: st.DataObject):
    check_replaced(name, root, data)
