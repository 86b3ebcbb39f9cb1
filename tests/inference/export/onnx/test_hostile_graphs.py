"""An exported folder of a stranger: its graphs read nothing else, run nothing else, fit its list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from captionlab.core.errors import UserError
from captionlab.inference.export.onnx.session import GraphSession
from hostile_support import MEMORY, forget_peak, peak_memory
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
        (lambda m: setattr(m.graph.node[0], "op_type", "SequenceEmpty"), "it has a SequenceEmpty"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Mish"), "cannot be run by onnxruntime"),
        (lambda m: m.graph.node.extend([m.graph.node[0]] * 20_000), "more than 20,000 nodes"),
        (lambda m: m.graph.initializer.extend([stored_outside(m)] * 999), "more than 4 times"),
        (lambda m: stored_outside(m).external_data.add(key="location", value="/x"), "are in '/x'"),
        (lambda m: m.functions.add(name="own", domain=""), "functions of its own"),
    ],
)
def test_a_graph_that_asks_for_more_is_refused(folder, edit, message):
    change(folder / "step.onnx", edit)
    with pytest.raises(UserError, match=message) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def graph_of(folder: Path, *nodes: onnx.NodeProto, **constants: list[float]) -> GraphSession:
    """Return a graph that adds to ``x`` the sum of what nodes make of constants, as ``big``."""
    arrays = (np.array(v, np.int64 if k == "shape" else np.float32) for k, v in constants.items())
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(a, k) for a, k in zip(arrays, constants, strict=True)],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "bomb.onnx")
    return GraphSession(folder, "bomb")


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([helper.make_node("Expand", ["one", "shape"], ["big"])], {"one": [1], "shape": [2**31]}),
        ([helper.make_node("ConstantOfShape", ["shape"], ["big"])], {"shape": [2**20, 2**12]}),
        ([helper.make_node("Range", ["zero", "end", "one"], ["big"])],
         {"zero": 0, "end": 2.0**31, "one": 1}),
        ([helper.make_node("Expand", ["one", "shape"], ["row"]),
          helper.make_node("Transpose", ["row"], ["column"]),
          helper.make_node("MatMul", ["column", "row"], ["big"])],
         {"one": [[1]], "shape": [1, 2**16]}),
    ],
    ids=["expand", "constant", "range", "product"],
)  # fmt: skip
def test_a_graph_that_grows_beyond_all_bounds_is_stopped_and_takes_no_memory(
    tmp_path, nodes, constants
):
    forget_peak()
    before = peak_memory()
    graph = graph_of(tmp_path, *nodes, **constants)
    with pytest.raises(UserError, match="takes more than 4 GB for these inputs") as caught:
        graph({"x": torch.ones(1)})
    assert "\n" not in str(caught.value)
    assert peak_memory() - before < MEMORY / 8


def test_what_a_graph_makes_of_constants_is_not_computed_when_it_is_opened(tmp_path):
    forget_peak()
    before = peak_memory()
    expand = helper.make_node("Expand", ["one", "shape"], ["big"])
    graph_of(tmp_path, expand, one=[1], shape=[2**27])  # 512 MB
    assert peak_memory() - before < 2**27


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
