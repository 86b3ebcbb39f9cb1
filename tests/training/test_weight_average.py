"""The average of weights, against one computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.training.callbacks import ExponentialMovingAverage
from captionlab.training.weight_average import WeightAverage, restore_average


class Small(nn.Module):
    """A frozen part with a batch norm, a trained one, a mask, and two names of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).requires_grad_(False)
        self.norm = nn.BatchNorm1d(3)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("mask", torch.full((2,), -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(self.norm(self.frozen(x))))
        return out


TRAINED = ["norm.weight", "norm.bias", "first.weight", "second.weight", "second.bias"]
STATISTICS = ["norm.running_mean", "norm.running_var"]


def step(model: nn.Module) -> dict[str, Tensor]:
    """Train one step; return the weights in double precision."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.randn(4, 3)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    return copied(model)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in model.state_dict().items()}


def saved(average: WeightAverage, model: nn.Module, **more: object) -> dict[str, Any]:
    state = {f"captioner.{name}": value for name, value in model.state_dict().items()}
    checkpoint: dict[str, Any] = {"state_dict": state, **more}
    average.save(checkpoint)
    return checkpoint


def test_the_average_is_that_of_the_formula():
    model = Small()
    expected = copied(model)
    average = WeightAverage(model, decay=0.3, start_step=1)
    for n in range(6):  # the first step is before the start
        now = step(model)
        average.update()
        decay = min(0.3, n / (9 + n))
        for name in TRAINED + STATISTICS:
            expected[name] = decay * expected[name] + (1 - decay) * now[name]
    found = saved(average, model)["state_dict"]
    for name, value in now.items():
        wanted = expected[name] if name in TRAINED + STATISTICS else value
        torch.testing.assert_close(
            found[f"captioner.{name}"].double(), wanted, rtol=1e-5, atol=1e-7
        )
    assert torch.equal(found["captioner.second.weight"], found["captioner.first.weight"])
    assert not torch.equal(found["captioner.norm.running_mean"], model.norm.running_mean)


def test_only_what_is_trained_is_copied():
    model = Small()
    average = WeightAverage(model, decay=0.9)
    assert sum(tensor.numel() for tensor in average._average) == 3 + 3 + 9 + 3 + 2 * 3


def test_an_average_of_bfloat16_weights_keeps_small_changes():
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    model.weight.data.fill_(1.0)
    average = WeightAverage(model, decay=0.999)
    average._steps = 100_000  # past the warm-up
    model.weight.data.fill_(2.0)
    for _ in range(10):
        average.update()
    assert average._average[0].item() == pytest.approx(2 - 0.999**10, abs=1e-5)


def test_weights_in_training_come_back_to_the_bit():
    model = Small()
    average = WeightAverage(model, decay=0.9)
    for _ in range(3):
        step(model)
        average.update()
    before = copied(model)
    average.swap_in()
    shown = copied(model)
    inside = saved(average, model, optimizer_states=[])
    average.swap_out()
    for name, value in copied(model).items():
        assert torch.equal(value, before[name]), name
        assert torch.equal(shown[name], value) == (name not in TRAINED + STATISTICS)
    # a checkpoint that is written while the average stands in their place is the same one
    outside = saved(average, model, optimizer_states=[])
    for name, tensor in outside["average"]["weights"].items():
        assert torch.equal(tensor, inside["average"]["weights"][name]), name
    for name, tensor in outside["state_dict"].items():
        assert torch.equal(
            tensor.to(shown[name.removeprefix("captioner.")].dtype),
            shown[name.removeprefix("captioner.")],
        ), name


def test_a_module_that_is_moved_keeps_its_average():
    """Moving replaces buffers by others."""
    model = Small()
    average = WeightAverage(model, decay=0.9)
    model._apply(lambda tensor: tensor.clone())
    now = step(model)
    average.update()
    found = saved(average, model)["state_dict"]["captioner.norm.running_mean"]
    torch.testing.assert_close(found.double(), 0.9 * now["norm.running_mean"])


def test_a_new_stage_begins_a_new_average():
    model = Small()
    average = WeightAverage(model, decay=0.999)
    for _ in range(5):
        step(model)
        average.update()
    model.first.weight.data.fill_(7.0)
    average.restart()
    now = step(model)["first.weight"]
    average.update()
    found = saved(average, model)["state_dict"]["captioner.first.weight"]
    torch.testing.assert_close(found.double(), 0.1 * torch.full_like(now, 7.0) + 0.9 * now)


def test_a_checkpoint_brings_both_back():
    model, average = trained_average()
    stored = saved(average, model, optimizer_states=[])
    again = Small()
    restored = WeightAverage(again, decay=0.9)
    restore_average(restored, stored)
    weights = {n.removeprefix("captioner."): w for n, w in stored["state_dict"].items()}
    again.load_state_dict(weights)
    for name, value in copied(model).items():
        assert torch.equal(value, copied(again)[name]), name
    for one, other in zip(average._average, restored._average, strict=True):
        assert torch.equal(one, other)
    assert (restored._steps, restored._began) == (2, 0)


def trained_average() -> tuple[Small, WeightAverage]:
    model = Small()
    average = WeightAverage(model, decay=0.9)
    for _ in range(2):
        step(model)
        average.update()
    return model, average


def test_a_checkpoint_without_a_fitting_average_is_refused():
    model, average = trained_average()
    stored = saved(average, model, optimizer_states=[])
    entry = stored["average"]
    bias = "captioner.second.bias"
    wider = {**entry["weights"], bias: torch.zeros(4)}
    values = entry["weights"][bias]
    for wrong in (
        {},
        {**entry, "steps": "2"},
        {**entry, "weights": {}},
        {**entry, "weights": wider},
        {**entry, "weights": {**entry["weights"], bias: values.to_sparse()}},
        {**entry, "weights": {**entry["weights"], bias: values.long()}},
    ):
        with pytest.raises(UserError, match="holds no average of this model's"):
            average.load({**stored, "average": wrong})
    with pytest.raises(UserError, match="callbacks/average=ema"):
        restore_average(None, stored)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decay": 1.0}, "average.decay=1.0 must be at least 0 and below 1"),
        ({"decay": -0.1}, "average.decay=-0.1"),
        ({"start_step": -1}, "average.start_step=-1"),
    ],
    ids=["decay-1", "decay-negative", "start-negative"],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        ExponentialMovingAverage(**settings)
