"""One small finished run that the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands_support import SMALL, run_train


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a small training run on the built-in data."""
    folder = tmp_path_factory.mktemp("work")
    run_train(folder, *SMALL, "hydra.run.dir=run")
    return folder / "run"
