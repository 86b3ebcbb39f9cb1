"""Random numbers go on where they stopped, on each rank."""

import torch

from captionlab.training.random_state import random_state, restore_random_state


def draws_after(seed: int) -> tuple[dict, list[float]]:
    torch.manual_seed(seed)
    torch.rand(3)
    state = random_state()
    return state, torch.rand(4).tolist()


def test_each_rank_goes_on_where_it_stopped_and_a_new_one_as_the_first():
    states, expected = zip(*(draws_after(seed) for seed in (1, 2)), strict=True)
    for rank, draws in enumerate([*expected, expected[0]]):
        torch.manual_seed(9)
        restore_random_state(states, rank)
        assert torch.rand(4).tolist() == draws


def test_a_checkpoint_without_states_leaves_the_generators_alone():
    torch.manual_seed(9)
    expected = torch.rand(4).tolist()
    torch.manual_seed(9)
    restore_random_state([], 0)
    assert torch.rand(4).tolist() == expected
