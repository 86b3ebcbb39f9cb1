"""An exported folder of a stranger: its graphs read nothing else, run nothing else, fit its list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from captionlab.core.errors import UserError
from onnx_support import opened


@pytest.fixture
def folder(small, tmp_path: Path) -> Path:
    shutil.copytree(small.folder, tmp_path / "folder")
    return tmp_path / "folder"


def change(path: Path, edit) -> None:
    model = onnx.load(str(path), load_external_data=False)
    edit(model)
    path.write_bytes(model.SerializeToString())


def stored_outside(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.external_data)


def set_entry(model: onnx.ModelProto, key: str, value: str) -> None:
    next(e for e in stored_outside(model).external_data if e.key == key).value = value


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: set_entry(m, "location", "../../etc/passwd"), "are in '../../etc/passwd'"),
        (lambda m: set_entry(m, "location", "/etc/passwd"), "are in '/etc/passwd'"),
        (lambda m: set_entry(m, "location", "captionlab.json"), "are in 'captionlab.json'"),
        (lambda m: set_entry(m, "length", "999999999999"), "beyond the end of weights.bin"),
        (lambda m: set_entry(m, "offset", "-64"), "have no place"),
        (lambda m: setattr(m.graph.node[0], "domain", "evil.ops"), "of 'evil.ops'"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "it has a Loop"),
        (lambda m: setattr(m.graph.node[0], "op_type", "NoSuch"), "cannot be run by onnxruntime"),
        (lambda m: m.functions.add(name="own", domain=""), "functions of its own"),
    ],
)
def test_a_graph_that_asks_for_more_is_refused(folder, edit, message):
    change(folder / "step.onnx", edit)
    with pytest.raises(UserError, match=message) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 5000])
def test_a_file_that_is_no_graph_is_refused(folder, content):
    (folder / "begin.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"begin\.onnx"):
        opened(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda e: e["graphs"]["step"]["inputs"].pop("tokens"), "input 'tokens'"),
        (lambda e: e["graphs"].pop("encoder"), "captionlab.json says None"),
        (lambda e: e["graphs"]["begin"]["outputs"].update(more=["tensor(float)", []]), "'more'"),
        (lambda e: e.update(counters=[1]), "does not describe its graphs"),
        (lambda e: e.update(longest="long"), "does not describe its graphs"),
        (lambda e: e.update(noise=10**9), "its latent is"),
        (lambda e: e.clear(), "does not describe its graphs"),
    ],
)
def test_a_list_that_does_not_fit_its_graphs_is_refused(folder, edit, message):
    manifest = json.loads((folder / "captionlab.json").read_text())
    edit(manifest["onnx"])
    (folder / "captionlab.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        opened(folder)


def test_a_vocabulary_of_another_captioner_is_refused(folder):
    manifest = json.loads((folder / "captionlab.json").read_text())
    manifest["tokenizer"]["words"].append("more")
    (folder / "captionlab.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"score .*15\] words, and its vocabulary has 16"):
        opened(folder)


def test_images_of_another_size_are_refused(folder):
    manifest = json.loads((folder / "captionlab.json").read_text())
    manifest["image"]["size"] = 64
    (folder / "captionlab.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="reads no images of 64 pixels"):
        opened(folder)
