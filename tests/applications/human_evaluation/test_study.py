from collections import Counter
from pathlib import Path

import pytest

from captionlab.applications.human_evaluation.study import ABANDONED, Answer, Settings, Study
from captionlab.applications.human_evaluation.systems import read_systems, shared_pictures
from captionlab.core.errors import UserError
from human_evaluation_support import NAMES, judge_all, prefers_alpha, write_captions


def test_a_judge_sees_every_pair_once_and_some_again_with_sides_exchanged(new_study):
    study = new_study(repeat_share=0.25)
    assert judge_all(study, "Ann", prefers_alpha) == 15
    judgments = study.judgments()
    first = [one for one in judgments if not one.repeat]
    again = {one.image: one for one in judgments if one.repeat}
    assert len({one.image for one in first}) == 12
    assert len(again) == 3
    for one in first:
        if one.image in again:
            assert again[one.image].left != one.left
    assert {one.choice for one in judgments} == {"run-secret-a"}
    assert study.progress("Ann") == {"done": 15, "most": 15}


def test_pictures_of_which_nobody_is_asked_are_not_counted(tmp_path, folder, files):
    write_captions(files[1], "alpha", NAMES[:3])
    systems = read_systems(files, folder)
    study = Study(tmp_path / "same.sqlite", new=True)
    study.set_up([systems[0], systems[1]], shared_pictures(systems), Settings())
    assert (len(study.images()), study.images(asked=True)) == (3, set())
    study.close()


def test_sides_are_drawn_and_orders_differ(new_study):
    study = new_study(repeat_share=0.0)
    for judge in ("Ann", "Ben", "Cem", "Dana"):
        judge_all(study, judge, lambda *_: "equal")
    lefts = Counter(one.left for one in study.judgments())
    assert min(lefts.values()) >= 12
    orders = {}
    for one in study.judgments():
        orders.setdefault(one.judge, []).append(one.image)
    assert len({tuple(order) for order in orders.values()}) == 4


def test_a_pair_is_judged_by_so_many_and_what_is_abandoned_comes_back(tmp_path, folder, files):
    now = [0.0]
    study = Study(tmp_path / "timed.sqlite", new=True, clock=lambda: now[0])
    systems = read_systems(files, folder)
    study.set_up(systems, shared_pictures(systems)[:2], Settings(0, 0.0, 1))
    assert study.deal("Ann") is not None
    assert study.deal("Ben") is not None
    assert study.deal("Cem") is None
    now[0] = ABANDONED + 1
    assert study.deal("Cem") is not None
    study.close()


def test_the_same_pair_stays_until_it_is_answered_and_the_last_answer_counts(new_study):
    study = new_study()
    token = study.deal("Ann")
    assert study.deal("Ann") == token
    shown = study.showing(token)
    study.answer(shown, Answer("left", "key-1"))
    study.answer(shown, Answer("left", "key-1"))  # sent again
    study.answer(shown, Answer("equal", "key-2", correctness_left=2, correctness_right=5))
    (one,) = study.judgments()
    assert one.choice == "equal"
    ratings = {one.caption_a: one.correctness_a, one.caption_b: one.correctness_b}
    assert ratings == {shown.left: 2, shown.right: 5}
    assert study.showing("no-such-token") is None


def test_identical_captions_are_not_asked(tmp_path: Path, folder: Path):
    files = [write_captions(tmp_path / f"{name}.json", "same") for name in "ab"]
    systems = read_systems(files, folder)
    study = Study(tmp_path / "same.sqlite", new=True)
    study.set_up(systems, shared_pictures(systems), Settings())
    assert study.identical() == 12
    assert study.deal("Ann") is None
    study.close()


def test_a_study_goes_on_and_refuses_to_become_another(new_study, folder, files, tmp_path):
    study = new_study()
    systems = read_systems(files, folder)
    images = shared_pictures(systems)
    study.set_up(systems, images, Settings())
    with pytest.raises(UserError, match="other captions"):
        study.set_up(systems, images[:5], Settings())
    with pytest.raises(UserError, match="other settings"):
        study.set_up(systems, images, Settings(rates=True))
    empty = Study(tmp_path / "empty.sqlite", new=True)
    with pytest.raises(UserError, match="holds no study yet"):
        empty.deal("Ann")
    empty.close()


def test_every_form_of_captions_is_read_and_joined_to_pictures(tmp_path: Path, folder: Path):
    predicted = tmp_path / "predicted.jsonl"
    predicted.write_text(
        '{"image": "elsewhere/0003.png", "caption": "best", "score": -1, "captions": '
        '[{"caption": "best", "score": -1}, {"caption": "second", "score": -2}]}\n'
        '{"image": "elsewhere/0004.png", "caption": "other", "score": -1, "captions": []}\n'
    )
    table = tmp_path / "table.csv"
    table.write_text('image,caption\n0003.png,"one, two"\n0004.png,three\n')
    numbered = tmp_path / "numbered.json"
    numbered.write_text(
        '[{"image_id": 3, "caption": "by number"}, {"image_id": 4, "caption": "x"}]'
    )
    systems = read_systems([predicted, table, numbered], folder)
    assert [system.captions["0003.png"] for system in systems] == ["best", "one, two", "by number"]
    assert shared_pictures(systems) == ["0003.png", "0004.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"image_id": "../../etc/passwd", "caption": "a"}]', "leads out"),
        ('[{"image_id": "/etc/passwd", "caption": "a"}]', "are not in"),
        ('[{"image_id": "absent.png", "caption": "a"}]', "are not in"),
        ('[{"image_id": "0001.png", "caption": 5}]', "caption"),
        ('[{"image_id": "0001.png", "caption": "%s"}]' % ("x" * 3000), "are the most"),
        ("[]", "hold"),
        ("nothing", "JSON"),
    ],
)
def test_hostile_captions_are_one_sentence(tmp_path, folder, files, content, message):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_systems([files[0], tmp_path / "bad.json"], folder)
    assert len(str(caught.value)) < 700


def test_systems_need_names_of_their_own(tmp_path: Path, folder: Path, files: list[Path]):
    assert [one.name for one in read_systems(files, folder)] == ["run-secret-a", "secret-b"]
    with pytest.raises(UserError, match="two systems are called same"):
        read_systems(files, folder, ["same", "same"])
    with pytest.raises(UserError, match="1 names to 2 files"):
        read_systems(files, folder, ["one"])
    with pytest.raises(UserError, match="2 to 20 are compared"):
        read_systems(files[:1], folder)
    apart = [
        write_captions(tmp_path / "x.json", "x", ["0001.png"]),
        write_captions(tmp_path / "y.json", "y", ["0002.png"]),
    ]
    with pytest.raises(UserError, match="no picture has a caption of every system"):
        shared_pictures(read_systems(apart, folder))
