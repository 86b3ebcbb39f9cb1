import math

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    InverseSquareRootSchedule,
    LinearSchedule,
    PlateauSchedule,
    StepSchedule,
)


def rates(schedule, steps: int = 100, epochs: int = 10) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = schedule(optimizer, steps=steps, epochs=epochs)["scheduler"]
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_cosine_warms_up_then_falls_to_the_floor():
    seen = rates(CosineSchedule(warm_up=0.1, floor=0.05))
    assert seen[:10] == sorted(seen[:10])
    assert seen[10] == pytest.approx(2.0)
    assert seen[55] == pytest.approx(2 * (0.05 + 0.95 * (1 + math.cos(math.pi / 2)) / 2))
    assert seen[-1] < 0.11


def test_warm_up_from_one_on_counts_steps():
    assert rates(ConstantSchedule(warm_up=4))[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])


def test_step_schedule_multiplies_every_few_epochs():
    seen = rates(StepSchedule(every=3, gamma=0.5))
    assert (seen[29], seen[30], seen[59], seen[60], seen[99]) == (2.0, 1.0, 1.0, 0.5, 0.25)


def test_linear_reaches_its_floor_at_the_end():
    seen = rates(LinearSchedule(warm_up=0.1, floor=0.5))
    assert (seen[10], seen[55]) == pytest.approx((2.0, 1.5))
    assert seen[99] == pytest.approx(1.0, abs=0.02)


def test_inverse_square_root_is_the_papers_formula():
    seen = rates(InverseSquareRootSchedule(warm_up=25))
    paper = [min((n + 1) ** -0.5, (n + 1) * 25**-1.5) for n in range(100)]
    assert seen == pytest.approx([2 * 25**0.5 * rate for rate in paper])


def test_plateau_falls_when_the_score_stops_rising():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    entry = PlateauSchedule(patience=1, factor=0.1)(optimizer, steps=10, epochs=5)
    for cider in (0.1, 0.5, 0.5, 0.5):
        entry["scheduler"].step(cider)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    assert entry["monitor"] == "val/cider"


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: CosineSchedule(warm_up=-1), "scheduler.warm_up"),
        (lambda: CosineSchedule(floor=2), "scheduler.floor"),
        (lambda: StepSchedule(every=0), "scheduler.every"),
        (lambda: PlateauSchedule(mode="up"), "scheduler.mode"),
    ],
)
def test_impossible_values_are_refused_by_key(make, key: str):
    with pytest.raises(UserError, match=key):
        make()
