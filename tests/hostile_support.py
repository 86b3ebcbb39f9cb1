"""Checkpoints as a stranger might write them, and a watch over what loading one does."""

from __future__ import annotations

import copy
import io
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from captionlab.inference.checkpoints import portable
from captionlab.text.tokenizers import WordTokenizer
from tests_support import tiny_captioner, tiny_config

CAPTIONS = ["a red circle left of a blue square on green"] * 6
MEMORY = 2 * 2**30  # bytes that no file may take


def honest(*overrides: str) -> dict[str, Any]:
    """Return the content of a small checkpoint as training writes it."""
    tokenizer = WordTokenizer.fit(CAPTIONS, threshold=1)
    captioner = tiny_captioner(*overrides, vocabulary=len(tokenizer), pad_id=tokenizer.pad_id)
    state = {f"captioner.{name}": tensor for name, tensor in captioner.state_dict().items()}
    config = tiny_config(*overrides)
    for part in ("encoder", "decoder"):
        architecture = getattr(getattr(captioner, part), "architecture", None)
        if architecture is not None:
            config["model"][part]["architecture"] = architecture
    entry = portable(config, tokenizer)
    return {"state_dict": state, "epoch": 3, "captionlab": entry}


def changed(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of a checkpoint's content with one value changed, ``key`` from the top down."""
    found = copy.deepcopy(content)
    *path, name = key.split("/")
    node = found
    for step in path:
        node = node[step]
    if value is DROPPED:
        del node[name]
    else:
        node[name] = value
    return found


DROPPED = object()


class Watch:
    """What a block did to the machine, by Python's audit events."""

    def __init__(self) -> None:
        self.active = False
        self.opened: list[str] = []
        self.written: list[str] = []
        self.connected: list[Any] = []
        self.started: list[Any] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            self.opened.append(os.fsdecode(arguments[0]))
            mode, flags = arguments[1] or "", arguments[2] or 0
            if any(letter in str(mode) for letter in "wax+") or flags & 0o3:
                self.written.append(str(arguments[0]))
        elif event in ("socket.connect", "socket.getaddrinfo"):
            self.connected.append(arguments)
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
            self.started.append(arguments)


_watch = Watch()
sys.addaudithook(_watch)


@contextmanager
def watched() -> Iterator[Watch]:
    """Give a record of the files written, sockets and processes of the block."""
    _watch.__init__()  # type: ignore[misc]
    _watch.active = True
    try:
        yield _watch
    finally:
        _watch.active = False


def peak_memory() -> int:
    """Return the largest resident memory since ``forget_peak``, in bytes; 0 where none is told."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def forget_peak() -> None:
    """Let the largest resident memory be that of now."""
    Path("/proc/self/clear_refs").write_text("5")


# --- files that torch.save would not write ---------------------------------------------------------


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes | None], packed: bool = False
) -> None:
    """Write an archive again with members changed; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = [(m.filename, archive.read(m)) for m in archive.infolist()]
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            new = change(name, data)
            if new is not None:
                archive.writestr(name, new)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def legacy(content: Any) -> bytes:
    """Return a file in torch's format of before 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()
