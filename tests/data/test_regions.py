"""Published regions are read from each of their forms."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.data.features import FeatureStore
from captionlab.data.regions import open_features
from captionlab.errors import UserError

RNG = np.random.default_rng(0)
SLOTS = {
    "17": RNG.normal(size=(3, 8)).astype(np.float32),
    "21": RNG.normal(size=(5, 8)).astype(np.float32),
}
BOXES = {
    name: np.array([[0, 0, 50, 100]] * len(slots), np.float32) for name, slots in SLOTS.items()
}


def npz(folder: Path) -> Path:
    for name, slots in SLOTS.items():
        np.savez(folder / f"{name}.npz", feat=slots, bbox=BOXES[name], image_w=100, image_h=200)
    return folder


def tsv(folder: Path) -> Path:
    lines = []
    for name, slots in SLOTS.items():
        coded = [base64.b64encode(array.tobytes()).decode() for array in (BOXES[name], slots)]
        lines.append("\t".join([name, "100", "200", str(len(slots)), *coded]))
    (folder / "regions.tsv").write_text("\n".join(lines) + "\n")
    return folder / "regions.tsv"


def h5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "regions.h5", "w") as file:
        for name, slots in SLOTS.items():
            file[f"{name}_features"] = slots
            file[f"{name}_boxes"] = BOXES[name]
    return folder / "regions.h5"


@pytest.mark.parametrize("form", [npz, tsv, h5])
def test_every_form_gives_slots_boxes_and_their_mean(tmp_path: Path, form):
    features = open_features(form(tmp_path))
    for name, slots in SLOTS.items():
        assert int(name) in features
        memory = features.read(int(name))
        torch.testing.assert_close(memory.slots, torch.from_numpy(slots))
        torch.testing.assert_close(memory.pooled, torch.from_numpy(slots.mean(0)))
        assert memory.mask.shape == (len(slots),)
        assert memory.boxes is not None
        known = (
            form is not h5
        )  # which does not tell the image's size: the largest corner stands for it
        assert memory.boxes[0].tolist() == ([0.0, 0.0, 0.5, 0.5] if known else [0.0, 0.0, 1.0, 1.0])
    assert 99 not in features


def test_what_is_not_there_or_not_known_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean"):
        open_features(npz(tmp_path).parent / tmp_path.name / "17.npy")
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"no store of captionlab extract"):
        open_features(tmp_path / "a.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="run captionlab extract"):
        FeatureStore(tmp_path / "empty")
    np.savez(tmp_path / "3.npz", other=np.zeros(3))
    with pytest.raises(UserError, match=r"3\.npz holds other, none of feat"):
        open_features(tmp_path).read(3)
