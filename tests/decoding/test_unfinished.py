"""Which images a loop over steps goes on with, and when it asks."""

from __future__ import annotations

import pytest
import torch

from captionlab.decoding.unfinished import in_batch, unfinished_images


def beams(*going: int) -> torch.Tensor:
    unfinished = torch.zeros(10, 2, dtype=torch.bool)
    unfinished[list(going), 1] = True
    return unfinished


def test_all_go_on_until_a_fifth_of_the_images_are_over():
    assert unfinished_images(0, beams(*range(10))) is None
    assert unfinished_images(0, beams(*range(1, 10))) is None
    assert unfinished_images(0, beams(0, 2, 3, 4, 6, 7, 8, 9)).tolist() == [0, 2, 3, 4, 6, 7, 8, 9]
    assert unfinished_images(0, beams(5)).tolist() == [5]


def test_without_a_hypothesis_no_image_is_left():
    assert unfinished_images(0, beams()).tolist() == []
    assert unfinished_images(0, torch.ones(0, 3, dtype=torch.bool)).tolist() == []


def test_the_host_asks_a_device_at_every_fourth_step_alone():
    elsewhere = torch.ones(4, 2, dtype=torch.bool, device="meta")  # nobody can read it
    for step in (0, 1, 2, 4, 5, 6):
        assert unfinished_images(step, elsewhere) is None
    with pytest.raises(RuntimeError):
        unfinished_images(3, elsewhere)


def test_parts_of_a_batch_stand_at_the_places_of_their_images():
    part = torch.tensor([[1, 2], [3, 4]])
    assert in_batch(part, torch.tensor([2, 0]), 3).tolist() == [[3, 4], [0, 0], [1, 2]]
    assert in_batch(part, None, 2) is part
