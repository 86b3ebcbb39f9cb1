"""One objective after another: which one trains, and what the second begins with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.objectives import Objective, Staged
from captionlab.objectives.base import StageStart


class Recording(Objective):
    """Keeps what its hooks are called with."""

    def __init__(self, name: str, **more: bool) -> None:
        super().__init__()
        self._name = name
        self.calls: list[tuple] = []
        for key, value in more.items():
            setattr(self, key, value)

    @property
    def name(self) -> str:
        return self._name

    def forward(self, captioner, batch):
        return torch.zeros(()), {self._name: torch.ones(())}

    def on_train_batch_start(self, epoch):
        self.calls.append(("batch", epoch))

    def on_train_epoch_start(self, epoch, val_scores):
        self.calls.append(("epoch", epoch))

    def on_stage_start(self, start_scores):
        self.calls.append(("stage", start_scores))

    def on_before_optimizer_step(self):
        self.calls.append(("step",))

    def run_artifacts(self):
        return {self._name: np.zeros(1)}


def staged(**more) -> Staged:
    return Staged(first=Recording("first"), then=Recording("then"), switch_epoch=2, **more)


def test_time_begins_anew_for_the_second_objective():
    objective = staged()
    objective.on_train_batch_start(1.5)
    assert objective.name == "first"
    objective.on_train_batch_start(2.25)
    assert objective.name == "then"
    objective.on_before_optimizer_step()
    assert objective.first.calls == [("batch", 0.0), ("batch", 1.5)]
    assert objective.then.calls == [("batch", 0.25), ("step",)]
    assert list(objective(None, None)[1]) == ["then"]


@pytest.mark.parametrize("rate", [None, 1e-4])
def test_the_switch_is_asked_for_once_and_the_second_objective_told_its_start(rate):
    objective = staged(learning_rate=rate)
    starts = [objective.on_train_epoch_start(epoch, {"cider": 0.5}) for epoch in range(4)]
    assert starts == [None, None, StageStart(from_best_weights=True, learning_rate=rate), None]
    assert objective.first.calls[1:] == [("epoch", 0), ("epoch", 1)]
    assert objective.then.calls == [("stage", {"cider": 0.5}), ("epoch", 1)]
    assert not objective.pauses_schedule
    objective.on_train_batch_start(2.0)
    assert objective.pauses_schedule == (rate is not None)


def test_both_objectives_needs_are_those_of_the_whole():
    objective = Staged(
        first=Recording("first"),
        then=Recording("then", requires_pretrained=True, needs_training_text=True),
    )
    assert objective.needs_training_text
    assert not objective.requires_pretrained  # the first one makes the start
    assert objective.names == ("first", "then")
    assert set(objective.run_artifacts()) == {"first", "then"}


def test_a_second_objective_that_would_never_begin_is_refused():
    staged().require_epochs(3)
    with pytest.raises(UserError, match=r"switch_epoch=2: .*never begin in trainer\.max_epochs=2"):
        staged().require_epochs(2)
