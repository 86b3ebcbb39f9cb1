import pytest
import torch

from captionlab.models.attention import additive_scores as module
from captionlab.models.attention.additive_scores import additive_scores
from captionlab.models.decoders.recurrent.loop_linear import LoopLinear


def _plain(query, keys, score):
    return torch.tanh(query[:, :, None] + keys[:, None]) @ score - score.sum()


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_additive_scores_equal_tanh_in_single_precision(scale):
    torch.manual_seed(0)
    query, keys = torch.randn(3, 2, 16) * scale, torch.randn(3, 5, 16) * scale
    score = torch.randn(16) / 4
    scores = additive_scores((2 * query).exp(), (2 * keys).exp(), score)
    torch.testing.assert_close(scores, _plain(query, keys, score), atol=1e-5, rtol=1e-5)


def test_additive_scores_do_not_depend_on_the_chunks(monkeypatch):
    torch.manual_seed(0)
    inputs = [torch.rand(7, 2, 16), torch.rand(7, 5, 16), torch.randn(16)]
    results = []
    for chunk in (1 << 21, 1, 300):
        monkeypatch.setitem(module._CHUNK, "cpu", chunk)
        leaves = [value.clone().requires_grad_(True) for value in inputs]
        scores = additive_scores(*leaves)
        scores.square().sum().backward()
        results.append([scores, *(leaf.grad for leaf in leaves)])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_additive_scores_gradient_is_right():
    torch.manual_seed(0)
    shapes = [(2, 3, 4), (2, 5, 4), (4,)]
    inputs = [torch.rand(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(additive_scores, inputs)


def test_loop_linear_gives_the_gradients_of_a_plain_loop():
    torch.manual_seed(0)
    inputs = [torch.randn(4, 3), torch.randn(2, 3), torch.randn(5, 6), torch.randn(6, 5)]

    def grads(make):
        x, y, weight, base = (value.clone().requires_grad_(True) for value in inputs)
        make(x, y, weight, base).square().sum().backward()
        return [value.grad for value in (x, y, weight, base) if value.grad is not None]

    def plain(x, y, _, base):
        w = base[:, :3]
        return torch.cat([x @ w.T, (y @ w.T).tanh()])

    def loop(x, y, _, base):
        linear = LoopLinear(base[:, :3], torch.zeros(6, 6), [4, 2])
        return torch.cat([linear(0, x), linear(1, y).tanh()])

    torch.testing.assert_close(grads(loop), grads(plain))


def test_loop_linear_passes_the_gradient_of_its_base():
    torch.manual_seed(0)
    base = torch.randn(6, 4, requires_grad=True)
    linear = LoopLinear(torch.randn(4, 3, requires_grad=True), base, [4, 2])
    (linear(0, torch.randn(4, 3)).sum() + 2 * linear(1, torch.randn(2, 3)).sum()).backward()
    assert base.grad.tolist() == [[1.0] * 4] * 4 + [[2.0] * 4] * 2
