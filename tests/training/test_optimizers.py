"""How an optimizer computes its step."""

from __future__ import annotations

import copy
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
        optimizer = build_optimizer(new, given)
        for _ in range(3):
            given[0]["params"][0].grad = given[0]["params"][0].detach() ** 2
            optimizer.step()
        steps.append((is_fused(optimizer), given[0]["params"][0].detach()))
    assert [fused for fused, _ in steps] == [True, False]
    torch.testing.assert_close(steps[0][1], steps[1][1])


@pytest.mark.parametrize(
    "new", [partial(Adam, foreach=True), partial(SGD, lr=0.1), lambda groups: Adam(groups)]
)
def test_what_was_asked_for_is_left_alone(new):
    assert not is_fused(build_optimizer(new, groups()))


@pytest.mark.parametrize("values", [{"device": "meta"}, {"dtype": torch.complex64}])
def test_parameters_that_the_kernel_does_not_know_take_the_plain_step(values):
    assert not is_fused(build_optimizer(partial(Adam), groups(**values)))


def test_a_run_that_began_before_goes_on_with_its_own_step():
    old = Adam(groups(), lr=0.1)
    optimizer = build_optimizer(partial(Adam, lr=0.1), groups())
    optimizer.load_state_dict(old.state_dict())
    assert not is_fused(optimizer)


def test_a_scaled_loss_steps_as_an_unscaled_one():
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    stepped = []
    for scaled in (False, True):
        given = groups()
        weight, optimizer = given[0]["params"][0], build_optimizer(partial(Adam, lr=0.1), given)
        loss = weight.square().sum()
        (scaler.scale(loss) if scaled else loss).backward()
        if scaled:
            scaler.unscale_(optimizer)  # and then Lightning clips
            scaler.step(optimizer)
        else:
            optimizer.step()
        stepped.append(weight.detach())
    torch.testing.assert_close(*stepped)


def test_averages_of_another_layout_are_those_of_their_weights():
    """The kernel walks through memory in order, whatever the layout."""
    stepped = []
    for layout in (torch.preserve_format, torch.contiguous_format):
        torch.manual_seed(0)
        weight = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
        weight = torch.nn.Parameter(weight)
        optimizer = build_optimizer(partial(Adam, lr=0.1), [{"params": [weight]}])
        for _ in range(2):
            weight.grad = weight.detach() ** 2
            optimizer.step()
            saved = copy.deepcopy(optimizer.state_dict())
            for name in ("exp_avg", "exp_avg_sq"):
                saved["state"][0][name] = saved["state"][0][name].clone(memory_format=layout)
            optimizer.load_state_dict(saved)
        stepped.append(weight.detach())
    assert torch.equal(*stepped)
