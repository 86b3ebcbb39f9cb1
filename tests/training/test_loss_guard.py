"""A loss that is no number ends a run, and no checkpoint is kept afterwards."""

import math

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.training.loss_guard import LARGEST_LOSS, LossGuard


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, LARGEST_LOSS, -LARGEST_LOSS])
def test_it_is_refused_with_step_and_images(value: float):
    guard = LossGuard()
    guard.update(6, torch.tensor(3.5), ["fine"])
    with pytest.raises(UserError, match=r"at step 7, on the images a, b: lower optimizer\.lr"):
        guard.update(7, torch.tensor(value), ["a", "b"])
    # and what learned from it is refused too, whoever asks next
    for _ in range(2):
        with pytest.raises(UserError, match="at step 7"):
            guard.check()


def test_of_many_images_the_first_are_named():
    with pytest.raises(UserError, match=r"images 0, 1, 2, 3, 4, 5, 6, 7 \.\.\.:"):
        LossGuard().update(0, torch.tensor(math.nan), range(40))


def test_a_large_loss_that_can_be_learned_from_is_not_refused():
    guard = LossGuard()
    guard.update(0, torch.tensor(0.99 * LARGEST_LOSS), ["a"])
    guard.check()
