"""The state of torch's random generators, for runs that go on as if they had not stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from captionlab.core.distributed import all_gather_object

RandomState = Mapping[str, Tensor]


def random_state() -> RandomState:
    """Return the state of torch's generators, the CPU's and this process's GPU's."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def random_states_of_all_ranks() -> list[RandomState]:
    """Return each rank's ``random_state``; every rank must call it."""
    return all_gather_object(random_state())


def restore_random_state(states: Sequence[RandomState], rank: int) -> None:
    """Bring torch's generators into the state of this rank.

    With more processes than ``states`` the new ones draw as the first one does.
    """
    if not states:
        return
    state = states[rank if rank < len(states) else 0]
    if "cpu" in state:
        torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
