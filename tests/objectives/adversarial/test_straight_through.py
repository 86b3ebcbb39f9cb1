"""Straight-through words: their values, their gradient, and the noise behind them."""

from __future__ import annotations

import math

import pytest
import torch

from captionlab.objectives.adversarial.straight_through import straight_through


def test_words_are_hard_forward_and_soft_backward():
    torch.manual_seed(0)
    logits = torch.randn(5, 7, requires_grad=True)
    words = torch.multinomial(logits.detach().softmax(-1), 1).squeeze(1)
    found = straight_through(logits, words, 0.7)
    assert torch.equal(found.argmax(-1), words)
    torch.testing.assert_close(found.sum(-1), torch.ones(5))
    torch.testing.assert_close(found.detach().amax(-1), torch.ones(5))
    found[:, 2].sum().backward()
    assert logits.grad.abs().sum() > 0
    # the gradient of a softmax sums to zero over a row
    torch.testing.assert_close(logits.grad.sum(-1), torch.zeros(5), atol=1e-6, rtol=0)


def test_the_noise_behind_drawn_words_is_gumbel(monkeypatch):
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5]).expand(40_000, -1)
    words = torch.multinomial(logits.softmax(-1), 1).squeeze(1)
    kept = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(
        torch.Tensor, "softmax", lambda self, dim: kept.append(self) or softmax(self, dim)
    )
    straight_through(logits, words, 1.0)
    noise = kept[0] - logits
    assert torch.equal(kept[0].argmax(-1), words)
    for column in noise.T:
        assert float(column.mean()) == pytest.approx(0.5772, abs=0.03)
        assert float(column.var()) == pytest.approx(math.pi**2 / 6, abs=0.06)
