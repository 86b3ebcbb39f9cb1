import torch

from captionlab.models.attention.additive_scores import additive_scores, share_keys
from captionlab.models.attention.shared import Shared, share_slots, weighted_sum

STEPS = ((3, 2), (3, 1), (2, 1))  # images and queries of each step


def grads_of(loop, *leaves):
    leaves = [leaf.clone().requires_grad_(True) for leaf in leaves]
    loss = sum(out.square().sum() for out in loop(*leaves))
    loss.backward(retain_graph=True)
    once = [leaf.grad.clone() for leaf in leaves]
    loss.backward()  # a second pass leaves as much again
    torch.testing.assert_close([leaf.grad for leaf in leaves], [2 * grad for grad in once])
    return once


def test_the_slots_gradient_is_that_of_plain_products():
    torch.manual_seed(0)
    weights = [torch.rand(b, k, 4, dtype=torch.double) for b, k in STEPS]
    slots = torch.randn(3, 4, 5, dtype=torch.double)

    def shared(slots, *weights):
        read = share_slots(slots)
        assert isinstance(read, Shared)
        return [weighted_sum(w, read.first(len(w))) for w in weights]

    def plain(slots, *weights):
        return [w @ slots[: len(w)] for w in weights]

    torch.testing.assert_close(grads_of(shared, slots, *weights), grads_of(plain, slots, *weights))


def test_the_keys_gradient_is_that_of_the_plain_formula():
    torch.manual_seed(0)
    queries = [torch.rand(b, k, 6, dtype=torch.double) + 0.1 for b, k in STEPS]
    keys, score = torch.rand(3, 4, 6, dtype=torch.double) + 0.1, torch.randn(6, dtype=torch.double)

    def shared(keys, score, *queries):
        read = share_keys(keys)
        return [additive_scores(q, read.first(len(q)), score) for q in queries]

    def plain(keys, score, *queries):
        products = [q[:, :, None] * keys[: len(q), None] for q in queries]
        return [-2 * ((1 + product).reciprocal() @ score) for product in products]

    torch.testing.assert_close(
        grads_of(shared, keys, score, *queries), grads_of(plain, keys, score, *queries)
    )


def test_slots_that_learn_nothing_are_read_as_they_are():
    assert not isinstance(share_slots(torch.randn(2, 3, 4)), Shared)


def test_a_loop_of_which_nothing_is_differentiated_leaves_no_gradient():
    slots = torch.randn(2, 3, 4, requires_grad=True)
    read = share_slots(slots)
    assert isinstance(read, Shared)
    assert torch.autograd.grad(slots.sum() + read.edge.sum(), slots)[0].eq(1).all()


def test_slots_of_single_precision_learn_behind_products_of_bfloat16():
    torch.manual_seed(0)
    weights, slots = torch.rand(2, 3, 4), torch.randn(2, 4, 5)

    def mixed(slots, weights):
        with torch.autocast("cpu", torch.bfloat16):
            return [weighted_sum(weights, share_slots(slots))]

    expected = grads_of(lambda slots, weights: [weights @ slots], slots, weights)
    torch.testing.assert_close(grads_of(mixed, slots, weights), expected, rtol=0.05, atol=0.05)
