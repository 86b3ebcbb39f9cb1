import pytest
import torch
from torch import nn

from captionlab.models import few_rows
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
    first, second = nn.Linear(3, 5), nn.Linear(2, 5, bias=False)
    steps = [(torch.randn(rows, 3), torch.randn(rows, 2)) for rows in (4, 2)]
    base = torch.randn(6, 5)

    def grads(make):
        leaves = [base.clone(), *(x.clone() for pair in steps for x in pair)]
        for leaf in leaves:
            leaf.requires_grad_(True)
        parameters = [*first.parameters(), *second.parameters()]
        outputs = make(leaves[0], [leaves[1:3], leaves[3:]])
        return torch.autograd.grad(outputs.square().sum(), [*leaves, *parameters])

    def plain(base, pairs):
        sums = zip(pairs, base.split([4, 2]), strict=True)
        return torch.cat([known + first(x) + second(y) for (x, y), known in sums])

    def loop(base, pairs):
        linear = LoopLinear(first, second, base=base, sizes=[4, 2])
        return torch.cat([linear(step, x, y) for step, (x, y) in enumerate(pairs)])

    torch.testing.assert_close(grads(loop), grads(plain))
    with torch.no_grad():
        torch.testing.assert_close(loop(base, steps), plain(base, steps))


def test_loop_linear_without_a_base_adds_the_bias():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 4), torch.randn(2, 3)
    (LoopLinear(layer, sizes=[2])(0, x) * torch.arange(8.0).view(2, 4)).sum().backward()
    assert layer.bias.grad.tolist() == [4.0, 6.0, 8.0, 10.0]
    torch.testing.assert_close(LoopLinear(layer, sizes=[2])(0, x), layer(x))


@pytest.mark.parametrize("rows", [1, 10, 15, 16])
def test_a_few_rows_are_multiplied_as_by_the_layer_itself(rows, monkeypatch):
    monkeypatch.setattr(few_rows, "_LARGE", 1)
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.randn(rows, 1, 6)
    with torch.no_grad():
        torch.testing.assert_close(few_rows.apply_linear(layer, x), layer(x))
