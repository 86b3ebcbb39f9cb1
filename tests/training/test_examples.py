"""Which images a gallery shows."""

from captionlab.training.examples import chosen


def test_the_chosen_are_spread_over_the_split():
    assert chosen(range(10), 3) == [0, 3, 6]
    assert chosen(range(2), 5) == [0, 1]
    assert chosen(range(4), 0) == []
