import pytest
import torch
import torch.nn.functional as F

from captionlab.core import rows
from captionlab.objectives.cross_entropy_loss import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_loss_and_gradient_are_torchs(dtype, smoothing, monkeypatch):
    monkeypatch.setattr(rows, "_PART", 30)  # several parts, the last one shorter
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 11, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(11, (7,), generator=generator)
    wide = logits.detach().to(torch.promote_types(dtype, torch.float32)).requires_grad_()
    expected = F.cross_entropy(wide, targets, label_smoothing=smoothing)
    (2 * expected).backward()

    loss, nll = cross_entropy(logits, targets, smoothing)
    (2 * loss).backward()

    tolerance = {"rtol": 1e-2, "atol": 1e-3} if dtype == torch.bfloat16 else {}
    assert loss.dtype == nll.dtype == wide.dtype
    assert not nll.requires_grad
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(nll, F.cross_entropy(wide.detach(), targets))
    torch.testing.assert_close(logits.grad.to(wide.dtype), wide.grad, **tolerance)


def test_evaluation_keeps_no_gradient():
    loss, nll = cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 2]))
    assert not loss.requires_grad
    assert loss.item() == nll.item() == pytest.approx(torch.log(torch.tensor(4.0)).item())


def test_no_token_is_no_number_as_torch_has_it():
    loss, nll = cross_entropy(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 0.1)
    assert loss.isnan()
    assert nll.isnan()
