import subprocess
import sys
import threading
from pathlib import Path

import pytest

from captionlab.applications.label.store import (
    LEASE,
    LONGEST_CAPTION,
    MOST_PROPOSALS,
    LabelStore,
    NewAction,
    Progress,
    Proposal,
)
from captionlab.core.errors import UserError


def add(store: LabelStore, picture: int, person: str, caption: str, key: str | None = None) -> int:
    key = key or f"{picture}-{person}-{caption}"
    return store.act([NewAction(picture, person, "add", key, caption)])[0]


def test_what_was_kept_is_there_when_it_is_opened_again(folder: Path, store: LabelStore):
    add(store, 2, "Ann", "a dog")
    store.act([NewAction(3, "Ben", "nothing_true", "key-of-it")])
    store.keep_proposals("m", {1: [Proposal("a cat", -1.5)]})
    store.close()
    again = LabelStore(folder / "labels.sqlite")
    again.add_pictures(["deep/d.png", "b.png", "c.png", "a.png"])  # numbers stay
    assert again.state(2).texts() == ["a dog"]
    assert again.proposals(1) == {"m": [("a cat", -1.5)]}
    assert again.progress() == Progress(4, 1, 1, 2)
    again.close()


def test_the_same_action_sent_again_is_one_action(store: LabelStore):
    assert add(store, 1, "Ann", "a dog", "same-key") == add(store, 1, "Ann", "a dog", "same-key")
    assert len(store.actions()) == 1


def test_two_people_never_get_the_same_picture(store: LabelStore):
    assert [store.deal("Ann"), store.deal("Ben"), store.deal("Ann")] == [1, 2, 1]
    add(store, 1, "Ann", "a dog")
    assert [store.deal("Ann"), store.deal("Cem"), store.deal("Dana")] == [3, 4, None]


def test_a_lease_ends_and_is_renewed(folder: Path):
    now = [0.0]
    store = LabelStore(folder / "timed.sqlite", clock=lambda: now[0])
    store.add_pictures(["a.png"])
    assert store.deal("Ann") == 1
    now[0] = LEASE - 1
    assert store.deal("Ben") is None
    assert store.renew("Ben", 1) == "Ann"
    assert store.renew("Ann", 1) is None
    now[0] = 2 * LEASE - 2
    assert store.deal("Ben") is None
    now[0] = 2 * LEASE
    assert store.deal("Ben") == 1
    store.close()


def test_a_skipped_picture_goes_to_others(store: LabelStore):
    number = store.deal("Ann")
    store.act([NewAction(number, "Ann", "skip", "skip-it")])
    assert store.deal("Ann") == 2
    assert store.deal("Ben") == 1


def test_undo_takes_back_ones_own_last_action_on_any_picture(store: LabelStore):
    add(store, 1, "Ann", "a dog")
    add(store, 2, "Ann", "a cat")
    add(store, 3, "Ben", "a hat")
    assert store.undo("Ann", "undo-1").picture == 2
    assert store.undo("Ann", "undo-1").picture == 2  # sent again
    assert store.state(1).texts() == ["a dog"]
    assert store.undo("Ann", "undo-2").picture == 1
    assert store.undo("Ann", "undo-3") is None
    assert store.progress().captioned == 1


def test_two_processes_on_one_file_see_each_other(folder: Path, store: LabelStore):
    other = LabelStore(folder / "labels.sqlite", new=False)
    other.add_pictures(["a.png", "b.png", "c.png", "deep/d.png"])
    add(store, 1, "Ann", "a dog")
    add(other, 1, "Ben", "a brown dog")
    assert store.state(1).texts() == other.state(1).texts() == ["a dog", "a brown dog"]
    assert [store.deal("Ann"), other.deal("Ben")] == [2, 3]
    other.close()


def test_many_at_once_lose_nothing(store: LabelStore):
    def work(person: str) -> None:
        for number in range(25):
            add(store, 1 + number % 4, person, f"caption {number} of {person}")

    threads = [threading.Thread(target=work, args=(f"person {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(state.captions) for state in store.states().values()) == 100


def test_the_longest_proposals_are_kept_in_any_script(store: LabelStore):
    longest = [Proposal(sign * LONGEST_CAPTION, None) for sign in ("字", '"', "\U0001f408")]
    proposals = (longest * MOST_PROPOSALS)[:MOST_PROPOSALS]
    store.keep_proposals("model", {1: proposals})
    assert store.proposals(1) == {"model": proposals}


def test_actions_are_kept_all_or_none(store: LabelStore):
    whole = NewAction(1, "Ann", "add", "key-1", "a dog")
    of_no_picture = NewAction(99, "Ann", "add", "key-2", "a cat")
    with pytest.raises(UserError, match="FOREIGN KEY"):
        store.act([whole, of_no_picture])
    assert store.actions() == []
    assert store.state(1).captions == ()


WRITER = """
import sys
from pathlib import Path
from captionlab.applications.label.store import LabelStore, NewAction
store = LabelStore(Path(sys.argv[1]))
store.add_pictures(["a.png"])
for number in range(10**6):
    store.act([NewAction(1, "Ann", "add", f"key-{number}", f"caption {number}")])
    print(number, flush=True)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path):
    file = tmp_path / "labels.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(40):
            answered = int(writer.stdout.readline())
        writer.kill()
    store = LabelStore(file, new=False)
    store.add_pictures(["a.png"])
    kept = store.state(1).texts()
    assert len(kept) > answered
    assert kept == [f"caption {number}" for number in range(len(kept))]
    store.close()
