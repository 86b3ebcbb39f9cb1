"""What arrives together is decoded together, what is too much is refused."""

import threading
from concurrent.futures import CancelledError

import pytest

from captionlab.applications.serve.batcher import Batcher, ClosedError, QueueFullError
from tests_support import HANG


class Gate:
    """Doubles numbers, batch by batch, as soon as it is opened."""

    def __init__(self, **settings: object) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        bounds = {"size": 4, "most_weight": 100, "wait": 0.0, "most_waiting": 8}
        self.batcher = Batcher(self.run, **(bounds | settings))

    def run(self, key, items):
        self.entered.set()
        assert self.opened.wait(HANG)
        self.batches.append(list(items))
        return [item * 2 if item >= 0 else ValueError(item) for item in items]

    def busy(self) -> None:
        """Return when a first item is being decoded, so that all others wait."""
        self.batcher.submit("first", [0], seconds=HANG)
        assert self.entered.wait(HANG)

    def submit(self, key, *items, **settings):
        return self.batcher.submit(key, items, **({"seconds": HANG} | settings))

    def open(self) -> None:
        self.opened.set()
        self.batcher.close()


def test_what_waits_is_decoded_together_with_its_like():
    gate = Gate()
    gate.busy()
    futures = gate.submit("a", 1) + gate.submit("b", 2) + gate.submit("a", 3) + gate.submit("a", 4)
    gate.open()
    assert gate.batches == [[0], [1, 3, 4], [2]]
    assert [future.result().value for future in futures] == [2, 4, 6, 8]
    assert [future.result().batch for future in futures] == [3, 1, 3, 3]


def test_batches_have_a_size_and_a_weight():
    gate = Gate(most_weight=6)
    gate.busy()
    gate.submit("a", 1, 2, weight=3)
    gate.submit("a", 3, weight=1)
    gate.submit("a", 4, weight=50)
    gate.open()
    assert gate.batches == [[0], [1, 2], [3], [4]]


def test_a_full_queue_takes_all_of_a_request_or_nothing():
    gate = Gate(most_waiting=3)
    gate.busy()
    gate.submit("a", 1, 2)
    with pytest.raises(QueueFullError):
        gate.submit("a", 3, 4)
    gate.submit("a", 5)
    gate.open()
    assert gate.batches == [[0], [1, 2, 5]]


def test_what_is_canceled_or_too_late_is_not_decoded():
    gate = Gate()
    gate.busy()
    dropped, kept, late = [
        gate.submit("a", 1)[0],
        gate.submit("a", 2)[0],
        gate.submit("a", 3, seconds=-1)[0],
    ]
    assert dropped.cancel()
    gate.open()
    assert gate.batches == [[0], [2]]
    assert kept.result().value == 4
    with pytest.raises(CancelledError):
        late.result(0)


def test_an_error_is_of_its_item_alone_and_the_thread_goes_on():
    gate = Gate()
    gate.opened.set()
    bad, good = gate.submit("a", -1, 1)
    assert good.result(HANG).value == 2
    with pytest.raises(ValueError, match="-1"):
        bad.result(HANG)

    def fail(key, items):
        raise RuntimeError("out of memory")

    broken = Batcher(fail, size=2, most_weight=2, wait=0, most_waiting=9)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            broken.submit("a", [1], seconds=HANG)[0].result(HANG)
    broken.close()
    gate.open()


def test_a_batch_waits_for_what_is_announced():
    gate = Gate(wait=HANG)
    gate.opened.set()
    with gate.batcher.expecting(1) as arrived:
        first = gate.submit("a", 1)
        with gate.batcher.expecting(1) as another:
            arrived()
            second = gate.submit("a", 2)
            another()
    assert [f.result(HANG).batch for f in first + second] == [2, 2]
    assert gate.submit("a", 3)[0].result(HANG).batch == 1  # nobody is announced: no wait
    gate.open()


def test_a_closed_one_finishes_what_waits_and_takes_nothing():
    gate = Gate()
    gate.busy()
    waiting = gate.submit("a", 1)[0]
    gate.open()
    assert waiting.result(0).value == 2
    with pytest.raises(ClosedError):
        gate.submit("a", 2)


def test_who_has_left_takes_nobodys_place():
    gate = Gate(most_waiting=3)
    gate.busy()
    for future in gate.submit("a", 1, 2, 3):
        future.cancel()
    (kept,) = gate.submit("a", 4)
    gate.open()
    assert kept.result().value == 8
    assert gate.batches == [[0], [4]]


def test_a_batch_that_cannot_be_counted_ends_nothing():
    def observe(size: int, seconds: float) -> None:
        raise OSError("no space left on device")

    gate = Gate(observe=observe)
    (first,) = gate.submit("a", 1)
    gate.opened.set()
    assert first.result(HANG).value == 2
    (second,) = gate.submit("a", 2)
    assert second.result(HANG).value == 4
    gate.open()
