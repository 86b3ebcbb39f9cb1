"""Published regions are read from each of their forms."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.data.features.regions import open_features
from captionlab.data.features.store import FeatureStore

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


def changed_npz(folder: Path, **arrays: object) -> Path:
    kept = {"feat": SLOTS["17"], "bbox": BOXES["17"], "image_w": 100, "image_h": 200} | arrays
    np.savez(folder / "17.npz", **{k: v for k, v in kept.items() if v is not None})
    return folder


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"feat": np.array([object()])}, r"17\.npz is damaged: it holds object, not numbers"),
        ({"feat": np.zeros((0, 8), np.float32)}, r"the regions are float32 of shape \(0, 8\)"),
        ({"feat": np.zeros(8, np.float32)}, r"of shape \(8,\), not numbers \(N, D\)"),
        ({"feat": np.array([["a", "b"]])}, r"not numbers \(N, D\)"),
        ({"feat": np.full((3, 8), np.nan, np.float32)}, "numbers that are not finite"),
        ({"bbox": np.zeros((2, 4), np.float32)}, r"the boxes have shape \(2, 4\), not \(3, 4\)"),
        ({"bbox": np.zeros(12, np.float32)}, r"the boxes have shape \(12,\)"),
        ({"image_w": 0}, "width and height of the image are no numbers above 0"),
        ({"image_w": np.array("wide")}, "width and height of the image are no numbers above 0"),
        ({"image_w": np.array([1, 2])}, "width and height of the image are no numbers above 0"),
        ({"image_h": float("nan")}, "width and height of the image are no numbers above 0"),
    ],
)
def test_regions_that_are_none_are_refused(tmp_path: Path, arrays: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        open_features(changed_npz(tmp_path, **arrays)).read("17")


def test_ids_reach_no_file_outside_of_the_folder(tmp_path: Path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "sub").mkdir()
    features = open_features(changed_npz(tmp_path / "inside"))
    np.savez(tmp_path / "outside.npz", feat=SLOTS["17"])
    np.savez(tmp_path / "inside" / "sub" / "1.npz", feat=SLOTS["17"])
    assert "17" in features
    assert "sub/1" in features
    for name in ("../outside", str(tmp_path / "outside"), "sub/../../outside", "17\0"):
        assert name not in features


def test_a_promise_of_much_memory_is_not_believed(tmp_path: Path):
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
    with (
        zipfile.ZipFile(tmp_path / "17.npz", "w") as archive,
        archive.open("feat.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 64)
    with pytest.raises(
        UserError, match=r"shape \(1000000, 1000000\) needs 4,000,000,000,000 bytes"
    ):
        open_features(tmp_path).read("17")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("17\t100\t200\t3\tAAAA", r"regions\.tsv:1: the line is not image_id"),
        ("17\t100\t200\tthree\tAAAA\tAAAA", "image 17: the line is not image_id"),
        ("17\t100\t200\t0\tAAAA\tAAAA", "image 17: the line is not image_id"),
        ("17\t100\t200\t-1\tAAAA\tAAAA", "image 17: the line is not image_id"),
        ("17\t100\t200\t1\tAAAA\t!!", "image 17: the line is not image_id"),
        ("17\t100\t200\t1\tAAAAAA==\tAAAAAA==", r"the boxes have shape \(1, 1\)"),
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path: Path, line: str, sentence: str):
    (tmp_path / "regions.tsv").write_text(line + "\n")
    with pytest.raises(UserError, match=sentence):
        open_features(tmp_path / "regions.tsv").read("17")


def test_an_h5_file_points_to_no_other_file(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(b"\1" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = SLOTS["17"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        raw = [(str(tmp_path / "secret"), 0, 64)]
        file.create_dataset("raw_features", (4, 4), "f4", external=raw)
        file["link_features"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
        file["soft_features"] = h5py.SoftLink("/raw_features")
        layout = h5py.VirtualLayout((3, 8), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(3, 8))
        file.create_virtual_dataset("virtual_features", layout)
        file.create_group("group_features")
        file["text_features"] = "a text"
        file["good_features"] = SLOTS["17"]
    features = open_features(tmp_path / "a.h5")
    assert features.read("good").slots.shape == (3, 8)
    for name in ("raw", "link", "soft", "virtual", "group", "text"):
        with pytest.raises(UserError, match=f"{name}_features is no array of numbers in this file"):
            features.read(name)


def test_a_file_that_is_no_h5_is_refused(tmp_path: Path):
    pytest.importorskip("h5py")
    (tmp_path / "a.h5").write_text("no h5")
    with pytest.raises(UserError, match=r"a\.h5 is no h5 file"):
        open_features(tmp_path / "a.h5")
