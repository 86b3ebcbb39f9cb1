"""The base of objectives: what derives from it, and what is refused."""

from __future__ import annotations

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.objectives import CrossEntropy, Objective
from captionlab.objectives.base import require_objective


class Constant(Objective):
    name = "constant"

    def forward(self, captioner, batch):
        return torch.zeros(()), {}


class Plain:
    """Once, a name and a call were enough."""

    name = "plain"

    def __call__(self, captioner, batch):
        return torch.zeros(()), {}


def test_a_name_and_a_forward_are_enough():
    objective = require_objective(Constant())
    objective.on_fit_start(None, {})
    objective.on_stage_start({})
    objective.on_train_batch_start(0.5)
    objective.on_before_optimizer_step()
    objective.require_epochs(1)
    assert objective.on_train_epoch_start(0, {}) is None
    assert objective.run_artifacts() == {}
    assert objective.names == ("constant",)
    assert objective.state_dict() == {}


@pytest.mark.parametrize(
    "value",
    [Plain(), Constant, torch.nn.Identity(), None],
    ids=["object", "class", "module", "None"],
)
def test_what_does_not_derive_from_it_is_told_how(value):
    with pytest.raises(UserError, match=r"captionlab\.objectives\.Objective; derive it"):
        require_objective(value)


def test_no_likelihood_has_a_state_that_earlier_checkpoints_lack():
    assert CrossEntropy().state_dict() == {}
