"""A folder of ONNX graphs in a checkpoint's place: alone, in an ensemble, by its address, and hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from captionlab import load_captioner
from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export.folder import MANIFEST
from captionlab.inference.export.write import ExportSettings, write_export

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
CKPT = FIXTURES / "show_tell.ckpt"
PICTURES = sorted((FIXTURES / "pictures").iterdir())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "out"
    write_export(read_checkpoint(CKPT), folder, ExportSettings("onnx"))
    return folder


@pytest.fixture
def export(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "export"))


def test_graphs_caption_as_their_checkpoint(export: Path):
    for decoding in ([], ["decoding=beam", "decoding.beam_size=4"], ["decoding=greedy"]):
        before = load_captioner(CKPT, decoding=decoding)
        assert load_captioner(export, decoding=decoding).batch(PICTURES) == before.batch(PICTURES)


def test_graphs_write_together_with_a_checkpoint(export: Path):
    alone = load_captioner(CKPT).batch(PICTURES)
    assert load_captioner([export, CKPT]).batch(PICTURES) == alone
    assert load_captioner([CKPT, export]).batch(PICTURES) == alone


def test_files_that_are_links_into_a_hubs_cache_are_read(export: Path, tmp_path: Path):
    from captionlab.inference.export.manifest import read_export
    from captionlab.inference.export.onnx import OnnxCaptioner

    root = tmp_path / "models--ada--captions"
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    shutil.move(export, root / "blobs")
    for path in (root / "blobs").iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    stored = read_export(snapshot, root)
    assert OnnxCaptioner(snapshot, stored.manifest).encoder.image_size == 32


@pytest.mark.parametrize("name", ["encoder.onnx", "begin.onnx", "step.onnx", "weights.bin"])
def test_a_graph_that_is_changed_or_not_listed_is_not_opened(export: Path, name: str):
    content = (export / name).read_bytes()
    (export / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_captioner(export)
    manifest = json.loads((export / MANIFEST).read_text(encoding="utf-8"))
    del manifest["files"][name]
    (export / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UserError, match=f"files have no {name}"):
        load_captioner(export)


def test_weights_are_asked_of_a_folder_that_has_them(export: Path):
    with pytest.raises(UserError, match="--format safetensors"):
        read_checkpoint(export)


def test_no_folder_of_this_machine_is_in_it(export: Path):
    for path in export.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes(), path.name
