import random

from captionlab.applications.label.actions import Action, state_of


def action(number: int, kind: str, person: str = "Ann", **more) -> Action:
    return Action(number, 1, person, float(number), kind, **more)


def test_a_picture_is_open_until_it_has_a_caption_or_nothing_is_true():
    assert state_of([]).status == "open"
    assert state_of([action(1, "skip")]).status == "open"
    assert state_of([action(1, "nothing_true")]).status == "nothing_true"
    both = [action(1, "nothing_true"), action(2, "add", "Ben", caption="a dog")]
    assert state_of(both).status == "captioned"
    assert state_of(both).nothing_true_by == ("Ann",)


def test_two_corrections_of_one_caption_are_two_captions():
    state = state_of(
        [
            action(1, "accept", caption="a dog"),
            action(2, "correct", caption="a brown dog", target=1),
            action(3, "correct", "Ben", caption="a dog runs", target=1),
        ]
    )
    assert state.texts() == ["a brown dog", "a dog runs"]


def test_undo_brings_back_what_was_before():
    actions = [
        action(1, "accept", caption="a dog"),
        action(2, "correct", caption="a cat", target=1),
        action(3, "undo", target=2),
    ]
    assert state_of(actions).texts() == ["a dog"]
    removed = [action(1, "add", caption="a dog"), action(2, "remove", target=1)]
    assert state_of(removed).texts() == []
    assert state_of([*removed, action(3, "undo", target=2)]).texts() == ["a dog"]


def test_the_order_of_reading_changes_nothing_and_wrong_targets_do_nothing():
    actions = [
        action(1, "add", caption="a dog"),
        action(2, "remove", target=99),
        action(3, "undo", target=77),
        action(4, "correct", caption="two dogs", target=-5),
        action(5, "add", caption="a dog"),
    ]
    shuffled = random.sample(actions, len(actions))
    assert state_of(shuffled) == state_of(actions)
    assert state_of(actions).texts() == ["a dog", "two dogs"]
