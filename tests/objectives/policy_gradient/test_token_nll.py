"""The fused log-probability of drawn tokens against the plain formula, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from captionlab.core import rows
from captionlab.objectives.policy_gradient.token_nll import token_nll

TOKENS = torch.tensor([4, 2, 6, 5, 2, 8])
NEVER = torch.tensor([0, 1, 3])
FIRST = torch.tensor([True, False, False, True, False, False])
EOS = 2


def logits(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(6, 9, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def plain(scores: Tensor, temperature: float) -> Tensor:
    banned = torch.isin(torch.arange(9), NEVER) | (FIRST[:, None] & (torch.arange(9) == EOS))
    allowed = scores.float().masked_fill(banned, -1e9) / temperature
    return F.cross_entropy(allowed, TOKENS, reduction="none")


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_plain_formula_in_pieces_too(monkeypatch, temperature, dtype):
    monkeypatch.setattr(rows, "_PART", 20)  # two rows at once
    ours, theirs, weight = logits(dtype), logits(dtype), torch.linspace(-1, 2, 6)
    found = token_nll(ours, TOKENS, NEVER, FIRST, EOS, temperature)
    expected = plain(theirs, temperature)
    torch.testing.assert_close(found, expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    assert ours.grad.dtype == dtype
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(ours.detach(), logits(dtype).detach())


def test_its_gradient_is_that_of_finite_differences_and_can_be_asked_twice():
    scores = logits(torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: token_nll(x, TOKENS, NEVER, FIRST, EOS, 0.7), (scores,)
    )
    nll = token_nll(scores, TOKENS, NEVER, FIRST, EOS, 0.7).sum()
    first, second = (torch.autograd.grad(nll, scores, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_no_token_gives_no_number():
    nothing = torch.empty(0, 9, requires_grad=True)
    nll = token_nll(nothing, TOKENS[:0], NEVER, FIRST[:0], EOS, 1.0)
    nll.sum().backward()
    assert nll.shape == (0,)
    assert nothing.grad.shape == (0, 9)


def test_a_banned_token_that_was_given_learns_nothing():
    tokens = torch.tensor([EOS, 1, 6, EOS, 0, 8])  # eos at the start, and ids that are never drawn
    ours, theirs = logits(), logits()
    banned = torch.isin(torch.arange(9), NEVER) | (FIRST[:, None] & (torch.arange(9) == EOS))
    expected = F.cross_entropy(theirs.masked_fill(banned, -1e9), tokens, reduction="none")
    expected.sum().backward()
    token_nll(ours, tokens, NEVER, FIRST, EOS, 1.0).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
