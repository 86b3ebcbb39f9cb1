"""How different samples are, and what is said when they become alike."""

from __future__ import annotations

import pytest
import torch

from captionlab.objectives.policy_gradient.diversity import DiversityMonitor


def test_a_collapse_is_said_once(caplog):
    monitor = DiversityMonitor(window=5)
    generator = torch.Generator().manual_seed(0)
    real = torch.ones(4, 3, 6, dtype=torch.bool)
    for _ in range(6):
        monitor(torch.randint(4, 99, (4, 3, 6), generator=generator), real)
    assert not caplog.records
    for _ in range(80):
        share = monitor(torch.full((4, 3, 6), 7), real)
    assert float(share) == pytest.approx(1 / 60)
    assert [r.message.startswith("the captions collapse") for r in caplog.records] == [True]
