"""An exported folder, read as the folder of a stranger: data alone, and no more than its list says.

What a checkpoint's configuration, tokenizer and weights are held against holds here as well
(``captionlab.inference.checkpoints``, ``bounds``, ``weights``). Besides, every file that is read is
listed with size and digest, lies in the folder, and is no link out of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captionlab.config.references import resolve_references, restore
from captionlab.core.config_types import MutableConfig
from captionlab.core.errors import UserError, did_you_mean
from captionlab.core.files import file_sha256
from captionlab.core.tensor_files import plain
from captionlab.inference.bounds import LARGEST_IMAGE
from captionlab.inference.checkpoints import FORMAT, Checkpoint, portable_entry
from captionlab.inference.export.folder import EXPORT_KEY, FORMAT_VERSION, MANIFEST
from captionlab.inference.export.onnx.graphs import BEGIN, ENCODER, STEP
from captionlab.inference.export.onnx.storage import WEIGHTS_FILE, graph_file
from captionlab.text.tokenizers import tokenizer_from_dict

FORMATS = ("onnx", "safetensors", "torch")
PRECISIONS = ("float32", "float16", "int8")
WEIGHTS = "weights.safetensors"
# what is opened of each format, which has to be listed and unchanged
NETWORKS = {
    "safetensors": (WEIGHTS,),
    "onnx": (*map(graph_file, (ENCODER, BEGIN, STEP)), WEIGHTS_FILE),
}
LARGEST_MANIFEST = 64 * 2**20  # bytes; a vocabulary of 250,000 pieces has 10 MB
MOST_FILES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# read by people, who may edit them, and by Python: not by captionlab
_UNREAD = (".md", ".py", ".txt")


def is_read(name: str) -> bool:
    """Return whether a file of an export is one that captionlab reads."""
    return not name.endswith(_UNREAD)


@dataclass(frozen=True)
class ExportedCheckpoint(Checkpoint):
    """What an exported folder holds of a checkpoint; ``path`` is the folder.

    ``weights`` are empty unless its format is safetensors.
    """

    manifest: MutableConfig = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The form of the network: onnx, safetensors or torch."""
        return str(self.manifest["format"])


def read_export(folder: str | os.PathLike[str], root: Path | None = None) -> ExportedCheckpoint:
    """Return the parts of an exported folder, its files compared with its list.

    Args:
        folder: as ``captionlab export`` writes it.
        root: a folder around it in which its files may lie by way of links, such as a hub's cache.

    Raises:
        UserError: if it is damaged, of a later version, or not what such a folder may be.
    """
    folder = Path(folder)
    root = folder if root is None else root
    manifest = read_manifest(folder, root)
    for name in manifest["files"]:
        if is_read(name):
            _require_unchanged(folder / name, root, manifest["files"][name])
    entry = _entry(manifest, folder)
    epochs = manifest.get("epochs")
    from captionlab.config.override import known_references  # it imports Hydra

    # decoding's overrides reach what refers to a value
    composed = restore(entry["config"], known_references())
    return ExportedCheckpoint(
        path=folder,
        config=resolve_references(composed, f"{folder}: config"),
        tokenizer=tokenizer_from_dict(entry["tokenizer"]),
        overrides=[],
        weights=_weights(folder, manifest),
        epochs=epochs if type(epochs) is int else 0,
        scores={n: v for n, v in entry["scores"].items() if isinstance(v, int | float)},
        composed=composed,
        data=entry["data"],
        resumable=False,
        manifest=manifest,
    )


def read_exported_weights(folder: str | os.PathLike[str]) -> ExportedCheckpoint:
    """Return an exported folder's parts as those of a checkpoint, with its weights.

    Raises:
        UserError: as ``read_export``, and for a format that has no weights by name.
    """
    export = read_export(folder)
    if export.format != "safetensors":
        raise UserError(
            f"{folder} is an export of format {export.format}, which captions photographs: for this, "
            "give the checkpoint, or an export of it with --format safetensors"
        )
    return export


def _entry(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the portable part of a checkpoint that a list holds, with what is read of it."""
    entry = {name: manifest.get(name) for name in ("config", "tokenizer")}
    entry |= {name: manifest.get(name, {}) for name in ("scores", "data")}
    return portable_entry({**entry, "format": FORMAT, "overrides": []}, folder / MANIFEST)


def _weights(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    if manifest["format"] != "safetensors":
        return {}
    from captionlab.inference.export.safetensors_format import read_weights

    return read_weights(folder / WEIGHTS, manifest.get("tied", {}))


def read_manifest(folder: Path, root: Path) -> dict[str, Any]:
    """Return the list of a folder: plain values, and the entries that everything after it reads.

    Raises:
        UserError: if it is no such list, or names files that it must not.
    """
    path = folder / MANIFEST
    size = require_inside(path, root)
    if size > LARGEST_MANIFEST:
        raise UserError(f"{path} has {size:,} bytes, and {LARGEST_MANIFEST:,} are the most.")
    try:
        with path.open(encoding="utf-8") as file:
            stored = json.loads(file.read(LARGEST_MANIFEST), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{path} is damaged or no list of an export at all ({reason}).") from error
    if not isinstance(stored, dict) or EXPORT_KEY not in stored:
        raise UserError(f"{path} is of another program: it has no entry {EXPORT_KEY!r}.")
    if stored[EXPORT_KEY] is True or stored[EXPORT_KEY] != FORMAT_VERSION:
        raise UserError(
            f"{path} is of version {stored[EXPORT_KEY]!r:.40}, this captionlab reads "
            f"{FORMAT_VERSION}: use the version of captionlab that wrote it."
        )
    manifest = plain(stored, str(path))
    for problem in _problems(manifest):
        raise UserError(f"{path} is damaged: {problem}.")
    return manifest


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the entries of a list, in the order in which they are needed."""
    for name, known in (("format", FORMATS), ("precision", PRECISIONS)):
        if manifest.get(name) not in known:
            value = manifest.get(name)
            yield f"its {name} is {value!r:.40}; {did_you_mean(str(value)[:40], known)}"
    image = manifest.get("image")
    size = image.get("size") if isinstance(image, Mapping) else None
    if type(size) is not int or not 1 <= size <= LARGEST_IMAGE:
        yield f"its image.size is {size!r:.40}, and 1 to {LARGEST_IMAGE} pixels are possible"
    if not isinstance(image, Mapping) or not isinstance(image.get("fit"), str):
        yield "its image.fit is no text"
    files = manifest.get("files")
    if not isinstance(files, Mapping) or not 1 <= len(files) <= MOST_FILES:
        yield f"its files are no list of 1 to {MOST_FILES} files"
        return
    for name, entry in files.items():
        yield from _problems_of_file(name, entry)
    for name in NETWORKS.get(str(manifest.get("format")), ()):
        if name not in files:
            yield f"its files have no {name}"


def _problems_of_file(name: str, entry: object) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"its files have {name!r:.60}, which is no plain name of a file"
    size = entry.get("bytes") if isinstance(entry, Mapping) else None
    written = entry.get("sha256") if isinstance(entry, Mapping) else None
    if type(size) is not int or size < 0:
        yield f"its files.{name}.bytes is {size!r:.40}"
    if not isinstance(written, str) or not _DIGEST.fullmatch(written):
        yield f"its files.{name}.sha256 is {written!r:.40}"


def require_inside(path: Path, root: Path) -> int:
    """Return the size of a regular file in a folder; UserError for all else, links out of it too."""
    inside = Path(os.path.realpath(root))
    if not Path(os.path.realpath(path)).is_relative_to(inside):
        raise UserError(f"{path} is a link that leads out of {root}: copy the file itself there.")
    if not path.is_file():
        raise UserError(f"There is no file {path}: the export is not complete.")
    return path.stat().st_size


def _require_unchanged(path: Path, root: Path, entry: Mapping[str, Any]) -> None:
    """Raise UserError unless a file has the size and the digest of its entry in the list."""
    size = require_inside(path, root)
    if size != entry["bytes"]:
        raise UserError(
            f"{path} has {size:,} bytes, and {MANIFEST} says {entry['bytes']:,}: it is damaged or "
            "incomplete; copy or download it again."
        )
    if file_sha256(path) != entry["sha256"]:
        raise UserError(
            f"{path} is not the file that {MANIFEST} lists (its SHA-256 differs): copy or download "
            "it again."
        )
