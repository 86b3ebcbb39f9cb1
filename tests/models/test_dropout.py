"""Dropout by random bits against torch's."""

from __future__ import annotations

import pytest
import torch

from captionlab.models.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_chosen_share_drops_out_and_the_rest_keeps_the_mean(p: float, dtype: torch.dtype):
    torch.manual_seed(0)
    values = torch.ones(401, 499, dtype=dtype)  # no multiple of four
    found = dropout(values, p, training=True)
    assert found.dtype == dtype
    assert (found == 0).float().mean().item() == pytest.approx(p, abs=4e-3)
    assert found.float().mean().item() == pytest.approx(1, abs=2e-2)
    kept = torch.tensor(1 / (1 - p), dtype=dtype)
    torch.testing.assert_close(found[found != 0].unique(), kept[None], rtol=1e-2, atol=0)


def test_elements_drop_out_each_by_itself():
    torch.manual_seed(1)
    dropped = dropout(torch.ones(40_000), 0.5, training=True).eq(0).float() - 0.5
    for distance in range(1, 9):
        together = (dropped[:-distance] * dropped[distance:]).mean() * 4
        assert abs(together) < 0.02


def test_the_gradient_goes_where_the_value_went():
    torch.manual_seed(2)
    values = torch.randn(6, 7, requires_grad=True)
    found = dropout(values, 0.4, training=True)
    found.sum().backward()
    torch.testing.assert_close(values.grad * values.detach(), found.detach())


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_and_all_are_torchs(p: float):
    values = torch.randn(5)
    torch.testing.assert_close(
        dropout(values, p, training=True), torch.nn.functional.dropout(values, p)
    )


def test_a_seed_repeats_the_draw_and_evaluation_draws_nothing():
    layer, values = Dropout(0.3), torch.randn(10, 10)
    torch.manual_seed(3)
    first = layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert layer.eval()(values) is values
