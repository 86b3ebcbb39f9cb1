"""How an optimizer computes its step."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from captionlab.training.optimizers import build_optimizer


def groups(**values) -> list[dict]:
    torch.manual_seed(0)
    return [{"params": [torch.nn.Parameter(torch.randn(5, 3, **values))]}]


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    return bool(optimizer.param_groups[0].get("fused"))


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam_is_fused_and_steps_as_it_did(kind):
    steps = []
    for new in (partial(kind, lr=0.1), partial(kind, lr=0.1, fused=False)):
        given = groups()
        optimizer = build_optimizer(new, given, scales_loss=False)
        for _ in range(3):
            given[0]["params"][0].grad = given[0]["params"][0].detach() ** 2
            optimizer.step()
        steps.append((is_fused(optimizer), given[0]["params"][0].detach()))
    assert [fused for fused, _ in steps] == [True, False]
    torch.testing.assert_close(steps[0][1], steps[1][1])


@pytest.mark.parametrize(
    ("new", "scales_loss"),
    [
        (partial(Adam, foreach=True), False),
        (partial(Adam, lr=0.1), True),
        (partial(SGD, lr=0.1), False),
        (lambda groups: Adam(groups), False),
    ],
)
def test_what_was_asked_for_and_float16_are_left_alone(new, scales_loss: bool):
    assert not is_fused(build_optimizer(new, groups(), scales_loss=scales_loss))


@pytest.mark.parametrize("values", [{"device": "meta"}, {"dtype": torch.complex64}])
def test_parameters_that_the_kernel_does_not_know_take_the_plain_step(values):
    assert not is_fused(build_optimizer(partial(Adam), groups(**values), scales_loss=False))


def test_a_run_that_began_before_goes_on_with_its_own_step():
    old = Adam(groups(), lr=0.1)
    optimizer = build_optimizer(partial(Adam, lr=0.1), groups(), scales_loss=False)
    optimizer.load_state_dict(old.state_dict())
    assert not is_fused(optimizer)
