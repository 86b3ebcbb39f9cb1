"""Exported folders of strangers: each ends in one sentence, and in nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from captionlab.core.errors import UserError
from captionlab.inference.checkpoints import read_checkpoint
from captionlab.inference.export.folder import MANIFEST, file_entry
from captionlab.inference.export.write import ExportSettings, write_export
from captionlab.inference.loaded import load_captioner
from hostile_support import (
    DROPPED,
    MEMORY,
    changed,
    forget_peak,
    honest,
    peak_memory,
    watched,
)

WEIGHTS = "weights.safetensors"
HUGE = 10**9


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    torch.save(honest(), folder / "best.ckpt")
    write_export(
        read_checkpoint(folder / "best.ckpt"), folder / "out", ExportSettings("safetensors")
    )
    return folder / "out"


@pytest.fixture
def export(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "export"))


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def put(folder: Path, manifest: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def listed(folder: Path) -> None:
    """Let the list of files be true of the files as they are."""
    manifest = manifest_of(folder)
    put(folder, {**manifest, "files": {n: file_entry(folder / n) for n in manifest["files"]}})


def require_refused(folder: Path, match: str) -> None:
    forget_peak()
    before = peak_memory()
    with watched() as watch, pytest.raises(UserError, match=match) as error:
        load_captioner(folder)
    assert len(str(error.value)) < 900
    assert "\n" not in str(error.value)
    assert [*watch.written, *watch.connected, *watch.started] == []
    assert peak_memory() - before < MEMORY / 8


def deep(levels: int) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for _ in range(levels):
        node = {"a": node}
    return node


ENTRIES = {
    "another version": ("captionlab_export", 2, "of version 2"),
    "a version that is a yes": ("captionlab_export", True, "of version True"),
    "no version": ("captionlab_export", DROPPED, "another program"),
    "an unknown format": ("format", "pickle", "its format is 'pickle'"),
    "a format that is a list": ("format", ["onnx"], "its format is"),
    "an unknown precision": ("precision", "int1", "its precision is"),
    "no image": ("image", DROPPED, r"image\.size is None"),
    "an image that is a list": ("image", [64], r"image\.size is None"),
    "a huge image": ("image/size", HUGE, f"image.size is {HUGE}"),
    "an image of no size": ("image/size", 0, r"image\.size is 0"),
    "an image whose size is a text": ("image/size", "64", r"image\.size is '64'"),
    "a fit that is a number": ("image/fit", 3, r"image\.fit"),
    "no files": ("files", {}, "files are no list"),
    "files that are a list": ("files", [WEIGHTS], "files are no list"),
    "files without weights": (f"files/{WEIGHTS}", DROPPED, "have no weights"),
    "no config": ("config", DROPPED, "its config is None"),
    "a config that is a list": ("config", [1], "its config is"),
    "a config without a model": ("config/model", DROPPED, r"config\.model is None"),
    "a decoder that is none": ("config/model/decoder", 3, r"config\.model\.decoder is 3"),
    "no tokenizer": ("tokenizer", DROPPED, "its tokenizer is None"),
    "a tokenizer of no kind": ("tokenizer", {"kind": "os.system"}, "tokenizer of kind"),
    "a tokenizer of numbers": ("tokenizer/words", [1, 2], "word"),
    "a deep entry": ("more", deep(60), "deeper ones"),
    "a shell command": (
        "config/model/encoder",
        {"_target_": "torch.utils.collect_env.run", "command": "touch pwned"},
        "trusted",
    ),
    "a class of another kind": (
        "config/model/encoder/_target_",
        "captionlab.decoding.Beam",
        "belongs there",
    ),
    "a decoding of os": ("config/decoding/_target_", "os.system", "trusted"),
    "a huge beam": ("config/decoding/beam_size", HUGE, "more than a checkpoint may ask"),
    "a huge decoder": ("config/model/decoder/hidden", HUGE, "more than a model can have"),
    "a decoder beyond its weights": ("config/model/decoder/hidden", 4096, "does not fit"),
    "a reference to itself": ("config/model/name", "${model.name}", "refers to itself"),
    "tied to nothing": ("tied", {"a": "b"}, "no weights 'b'"),
    "tied names in a list": ("tied", ["a"], "tied names"),
    "tied to a number": ("tied", {"a": 3}, "no weights 3"),
}


@pytest.mark.parametrize(("key", "value", "match"), ENTRIES.values(), ids=ENTRIES)
def test_a_hostile_list_is_refused(export: Path, key: str, value: Any, match: str):
    put(export, changed(manifest_of(export), key, value))
    require_refused(export, match)


TEXTS = {
    "empty": b"",
    "no JSON": b"{'captionlab_export': 1}",
    "half": b'{"captionlab_export": 1, "files": {',
    "a list": b"[1]",
    "NaN": b'{"captionlab_export": NaN}',
    "infinity": b'{"captionlab_export": 1, "image": {"size": -Infinity}}',
    "no UTF-8": b'{"captionlab_export": "\xff"}',
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "an integer of 10,000 digits": b'{"captionlab_export": ' + b"1" * 10_000 + b"}",
    "a float beyond all": b'{"captionlab_export": 1e999}',
    "null bytes": b"\0" * 1000,
}


@pytest.mark.parametrize("content", TEXTS.values(), ids=TEXTS)
def test_a_list_that_is_none_is_refused(export: Path, content: bytes):
    (export / MANIFEST).write_bytes(content)
    require_refused(export, "captionlab.json")


def test_a_list_of_gigabytes_is_not_read(export: Path):
    with (export / MANIFEST).open("r+b") as file:
        file.truncate(4 * 2**30)
    require_refused(export, "are the most")


NAMES = ["../x", "/etc/passwd", "a/b", "..", "", ".hidden", "a\\b", "C:x", "x\n", "x" * 200, "x\0"]


@pytest.mark.parametrize("name", NAMES, ids=[str(number) for number in range(len(NAMES))])
def test_names_of_files_stay_in_the_folder(export: Path, name: str):
    manifest = manifest_of(export)
    manifest["files"][name] = manifest["files"][WEIGHTS]
    put(export, manifest)
    require_refused(export, "plain name")


@pytest.mark.parametrize("field", ["bytes", "sha256"])
@pytest.mark.parametrize("value", [None, -1, "x", 1.5, True, []], ids=str)
def test_sizes_and_digests_are_numbers_and_digests(export: Path, field: str, value: Any):
    put(export, changed(manifest_of(export), f"files/{WEIGHTS}/{field}", value))
    require_refused(export, field)


def test_a_file_that_is_missing_is_named(export: Path):
    (export / WEIGHTS).unlink()
    require_refused(export, f"no file .*{WEIGHTS}")


def test_a_changed_file_is_named(export: Path):
    content = bytearray((export / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (export / WEIGHTS).write_bytes(content)
    require_refused(export, "SHA-256 differs")


def test_a_cut_file_is_named(export: Path):
    os.truncate(export / WEIGHTS, 1000)
    require_refused(export, "has 1,000 bytes")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_links_out_of_the_folder_are_not_followed(export: Path, name: str, tmp_path: Path):
    shutil.move(export / name, tmp_path / "elsewhere")
    (export / name).symlink_to(tmp_path / "elsewhere")
    require_refused(export, "leads out of")


def test_a_link_within_the_folder_is_followed(export: Path):
    (export / WEIGHTS).rename(export / "blob")
    (export / WEIGHTS).symlink_to("blob")
    assert load_captioner(export).captioner is not None


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_what_is_no_regular_file_is_not_opened(export: Path, name: str):
    (export / name).unlink()
    os.mkfifo(export / name)
    require_refused(export, "no file")


def test_a_card_that_its_owner_edits_is_not_looked_at(export: Path):
    (export / "README.md").write_text("mine")
    assert load_captioner(export).captioner is not None


def header(entries: Any, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


FLOAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda old: b"",
    "no header": lambda old: b"\x00" * 8,
    "a header of exabytes": lambda old: struct.pack("<Q", 2**60) + old[8:],
    "a header of 50 megabytes": lambda old: header(b" " * 50_000_000),
    "a header that is no JSON": lambda old: header(b"{" * 1000),
    "a pickle": lambda old: b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    "a weight beyond the file": lambda old: header({"a": {**FLOAT, "data_offsets": [0, 2**40]}}),
    "a shape beyond its bytes": lambda old: header({"a": {**FLOAT, "shape": [HUGE]}}, b"\0" * 4),
    "a shape that overflows": lambda old: header({"a": {**FLOAT, "shape": [2**62, 4]}}, b"\0" * 4),
    "a negative shape": lambda old: header({"a": {**FLOAT, "shape": [-1]}}, b"\0" * 4),
    "an unknown type": lambda old: header({"a": {**FLOAT, "dtype": "PY_OBJECT"}}, b"\0" * 4),
    "weights that overlap": lambda old: header({"a": FLOAT, "b": FLOAT}, b"\0" * 4),
    "other weights": lambda old: header({"a": FLOAT}, b"\0" * 4),
    "no weights": lambda old: header({}),
}


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_hostile_weights_are_refused(export: Path, change: Callable[[bytes], bytes]):
    path = export / WEIGHTS
    path.write_bytes(change(path.read_bytes()))
    listed(export)
    require_refused(export, "safetensors|does not fit")


def test_programs_are_not_run(export: Path):
    (export / "encoder.pt2").write_bytes(b"x")
    entry = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    manifest = manifest_of(export)
    put(export, {**manifest, "format": "torch", "files": {"encoder.pt2": entry}})
    require_refused(export, r"caption_torch\.py")
    with pytest.raises(UserError, match="export of it with --format safetensors"):
        read_checkpoint(export)
