"""Which images a gallery shows, and what attention becomes on them."""

import torch

from captionlab.training.examples import as_maps, chosen


def test_the_chosen_are_spread_over_the_split():
    assert chosen(range(10), 3) == [0, 3, 6]
    assert chosen(range(2), 5) == [0, 1]
    assert chosen(range(4), 0) == []


def test_attention_over_a_square_grid_is_a_map_and_any_other_is_not_shown():
    weights = torch.arange(18.0).view(2, 9)
    words, maps = as_maps(["a", "dog"], weights)
    assert words == ["a", "dog"]
    assert torch.equal(maps[1, 2], weights[1, 6:])
    for other in (torch.ones(2, 8), torch.ones(2, 1), None):
        assert as_maps(["a", "dog"], other) == ([], None)
    assert as_maps([], torch.ones(0, 9)) == ([], None)
