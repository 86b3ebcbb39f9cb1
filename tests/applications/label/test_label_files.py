"""Files out of a store and into it: what training reads, Label Studio's tasks, and hostile ones."""

import json
from pathlib import Path

import pytest

from captionlab.applications.label.export import (
    labeled_pictures,
    splits_of_few,
    write_coco,
    write_jsonl,
    write_sidecars,
)
from captionlab.applications.label.imports import import_file
from captionlab.applications.label.label_studio import write_label_studio
from captionlab.applications.label.store import LabelStore, NewAction, Proposal
from captionlab.build import build_data
from captionlab.core.errors import UserError
from tests_support import tiny_config

CAPTIONS = {
    1: ["a dog", "ein Hund läuft"],
    2: ['a "quoted" cat, here'],
    3: ["犬が走る"],
    4: ["a hat"],
}


@pytest.fixture
def labeled(store: LabelStore) -> LabelStore:
    for number, captions in CAPTIONS.items():
        for caption in captions:
            store.act([NewAction(number, "Ann", "add", f"{number}-{caption}", caption)])
    return store


def captions_by_name(source: object) -> dict[str, list[str]]:
    records = [r for split in ("train", "val", "test") for r in source.records(split)]
    return {Path(record.image).name: list(record.captions) for record in records}


EXPECTED = {
    name: CAPTIONS[number] for number, name in enumerate(("a.png", "b.png", "c.png", "d.png"), 1)
}


def composed(*overrides: str) -> object:
    config = tiny_config(*overrides, "data.tokenizer.threshold=1")
    return build_data(config["data"]).source


@pytest.mark.parametrize("kind", ["jsonl", "json", "sidecars"])
def test_training_reads_what_is_exported(kind: str, folder: Path, labeled: LabelStore):
    pictures = labeled_pictures(labeled)
    file = folder.parent / f"out.{kind}"
    if kind == "jsonl":
        write_jsonl(pictures, file)
    elif kind == "json":
        write_coco(pictures, folder, file)
    else:
        write_sidecars(pictures, folder, pictures=list(labeled.present.values()))
    more = [] if kind == "sidecars" else [f"data.source.file={file}"]
    assert captions_by_name(composed(f"data={kind}", f"data.root={folder}", *more)) == EXPECTED


def test_few_pictures_are_split_so_that_each_split_can_be_scored():
    few, many = ([f"{number}.png" for number in range(count)] for count in (8, 400))
    assert sorted(splits_of_few(few).values()) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert splits_of_few(many) == splits_of_few(few[:5]) == {}


def test_coco_has_sizes_and_numbers(folder: Path, labeled: LabelStore):
    write_coco(labeled_pictures(labeled), folder, folder.parent / "out.json")
    content = json.loads((folder.parent / "out.json").read_text("utf-8"))
    assert content["images"][3] == {"id": 4, "file_name": "deep/d.png", "width": 8, "height": 6}
    assert [one["id"] for one in content["annotations"]] == [1, 2, 3, 4, 5]


def test_sidecars_replace_no_other_text_and_follow_no_link(folder: Path, labeled: LabelStore):
    pictures, names = labeled_pictures(labeled), list(labeled.present.values())
    (folder / "c.txt").write_text("somebody's notes")
    with pytest.raises(UserError, match=r"c\.txt is there and says something else"):
        write_sidecars(pictures, folder, pictures=names)
    assert not (folder / "a.txt").exists()
    outside = folder.parent / "outside"
    outside.write_text("precious")
    (folder / "c.txt").unlink()
    (folder / "c.txt").symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        write_sidecars(pictures, folder, pictures=names, overwrite=True)
    assert outside.read_text() == "precious"


def test_pictures_of_one_stem_get_texts_of_their_own(folder: Path, labeled: LabelStore):
    names = [*labeled.present.values(), "a.jpg"]
    write_sidecars(labeled_pictures(labeled), folder, pictures=names)
    assert sorted(path.name for path in folder.glob("*.txt")) == ["a.png.txt", "b.txt", "c.txt"]


def test_label_studio_gets_all_and_gives_it_back(folder: Path, labeled: LabelStore):
    labeled.act([NewAction(1, "Ben", "nothing_true", "n1"), NewAction(2, "Cem", "skip", "s1")])
    labeled.keep_proposals("m-1", {1: [Proposal("a wolf", -2.5)], 3: [Proposal("no score")]})
    file = folder.parent / "tasks.json"
    assert write_label_studio(labeled, file) == 4
    again = LabelStore(folder.parent / "again.sqlite")
    again.add_pictures(list(labeled.present.values()))
    assert import_file(again, file) == (4, 5, 2)
    assert import_file(again, file) == (4, 5, 2)  # changes nothing
    for number in CAPTIONS:
        before, after = labeled.state(number), again.state(number)
        assert [(c.person, c.text) for c in after.captions] == [
            (c.person, c.text) for c in before.captions
        ]
        assert after.skipped_by == before.skipped_by
        assert after.nothing_true_by == before.nothing_true_by
        assert again.proposals(number) == labeled.proposals(number)
    again.close()


def test_label_studios_own_export_is_read(folder: Path, store: LabelStore):
    # the form of https://labelstud.io/guide/task_format with an uploaded and a remote picture
    text = {"from_name": "caption", "to_name": "image", "type": "textarea"}
    box = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["dog"]}}
    tasks = [
        {
            "id": 7,
            "data": {"captioning": "/data/upload/3/0a1b2c3d-a.png"},
            "annotations": [
                {"completed_by": 10, "result": [{**text, "value": {"text": ["two dogs"]}}, box]}
            ],
            "predictions": [],
        },
        {
            "data": {"image": "https://example.com/x/deep/d.png?sig=1"},
            "annotations": [
                {
                    "completed_by": {"id": 1, "email": "ann@example.com"},
                    "result": [{**text, "value": {"text": "a hat"}}],
                }
            ],
        },
    ]
    (folder.parent / "ls.json").write_text(json.dumps(tasks))
    assert import_file(store, folder.parent / "ls.json") == (2, 2, 0)
    (one,) = store.state(1).captions
    assert (one.text, one.person) == ("two dogs", "label studio 10")
    assert store.state(4).captions[0].person == "ann@example.com"


def test_predictions_are_imported_as_proposals(folder: Path, store: LabelStore):
    file = folder.parent / "predictions.jsonl"
    file.write_text('{"image": "photos/b.png", "caption": "a cat", "score": -1.0}\n')
    assert import_file(store, file, take_as="proposals") == (1, 0, 1)
    assert store.proposals(2) == {"predictions": [("a cat", None)]}
    assert store.state(2).status == "open"


TEXT = {"type": "textarea", "value": {"text": ["x"]}}
HOSTILE = {
    "out.jsonl": ('{"image": "../../etc/passwd", "caption": "a"}', "has no picture"),
    "absolute.jsonl": ('{"image": "/etc/passwd", "caption": "a"}', "has no picture"),
    "type.jsonl": ('{"image": 3.5, "caption": "a"}', "image"),
    "captions.jsonl": ('{"image": "a.png", "captions": [1]}', "captions"),
    "empty-caption.jsonl": ('{"image": "a.png", "caption": " \\u0000 "}', "caption"),
    "half.jsonl": ('{"image": "a.png", "caption": "\\ud800"}', "half of a character"),
    "long.jsonl": (json.dumps({"image": "a.png", "caption": "x" * 9999}), "2,000 are the most"),
    "array.jsonl": ("[1, 2]", "JSON"),
    "deep.json": ("[" * 100_000, "nested too deeply"),
    "cut.json": ('[{"data": {"image": "a.png"', "cut in half"),
    "no-picture.json": ('[{"data": {"text": "hello"}}]', "names no picture"),
    "leads-out.json": ('[{"data": {"image": "/data/local-files/?d=../../x.png"}}]', "has no picture"),
    "odd-address.json": ('[{"data": {"image": "http://[::bad/a.png"}}]', "no address"),
    "annotations.json": ('[{"data": {"image": "a.png"}, "annotations": 3}]', "must be a list"),
    "result.json": ('[{"data": {"image": "a.png"}, "annotations": [{"result": [5]}]}]', "object"),
    "value.json": (
        json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": [
            {"type": "textarea", "value": {"text": {"a": 1}}}]}]}]),
        "must be texts",
    ),
    "score.json": (
        json.dumps([{"data": {"image": "a.png"}, "predictions": [
            {"score": 10**400, "result": [TEXT]}]}]).replace("\\", ""),
        "score",
    ),
    "person.json": (
        json.dumps([{"data": {"image": "a.png"}, "annotations": [
            {"completed_by": [1], "result": [TEXT]}]}]),
        "must be a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_sentence_and_changes_nothing(
    name: str, folder: Path, store: LabelStore
):
    content, message = HOSTILE[name]
    good = '{"image": "b.png", "caption": "kept only with the rest"}\n'
    file = folder.parent / name
    file.write_text((good if name.endswith("l") and content[0] == "{" else "") + content)
    with pytest.raises(UserError, match=message) as caught:
        import_file(store, file)
    assert str(caught.value).startswith(str(file)) or name == "array.jsonl"
    assert len(str(caught.value)) < 800
    assert store.actions() == []


def test_a_huge_file_and_a_missing_one_are_refused(folder: Path, store: LabelStore):
    huge = folder.parent / "huge.jsonl"
    with huge.open("wb") as file:
        file.truncate(2**29)
    with pytest.raises(UserError, match="are the most that is imported"):
        import_file(store, huge)
    with pytest.raises(UserError, match="There is no file"):
        import_file(store, folder.parent / "absent.jsonl")


def test_a_name_that_fits_two_pictures_is_not_guessed(folder: Path, tmp_path: Path):
    store = LabelStore(tmp_path / "two.sqlite")
    store.add_pictures(["x/a.png", "y/a.png"])
    file = tmp_path / "two.jsonl"
    file.write_text('{"image": "a.png", "caption": "a dog"}\n')
    with pytest.raises(UserError, match=r"may be x/a\.png or y/a\.png"):
        import_file(store, file)
    file.write_text('{"image": "elsewhere/y/a.png", "caption": "a dog"}\n')
    import_file(store, file)
    assert store.state(2).texts() == ["a dog"]
    store.close()
