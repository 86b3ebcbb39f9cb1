"""The calibration of a folder is a stranger's, as the folder is."""

from pathlib import Path

import pytest

from captionlab.applications.serve import identity
from captionlab.core.errors import UserError
from captionlab.inference.calibrated import calibration_of
from captionlab.metrics.calibration import NAME, Calibration


def test_a_link_out_of_an_exported_folder_is_not_read(tmp_path: Path):
    Calibration("log_odds", 1.0, 0.0).write(tmp_path / "other.json")
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / NAME).symlink_to(tmp_path / "other.json")
    with pytest.raises(UserError, match="link that leads out"):
        calibration_of(folder)
    assert identity.calibration_of([str(folder)]) is None
    (folder / NAME).unlink()
    (tmp_path / "other.json").rename(folder / NAME)
    assert calibration_of(folder) == identity.calibration_of([str(folder)]) is not None
