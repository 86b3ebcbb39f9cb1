"""The packages that writing and running ONNX needs, imported where they are used."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from captionlab.core.errors import UserError


def onnx_library() -> ModuleType:
    """Return ``onnx``; UserError, naming the extra, where it or torch's exporter to it is missing."""
    _import("onnxscript")
    return _import("onnx")


def runtime() -> ModuleType:
    """Return ``onnxruntime``, which then tells nobody that it runs; UserError where it is missing."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    library = _import("onnxruntime")
    library.disable_telemetry_events()
    return library


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"ONNX needs the package {name}: pip install 'captionlab[export]'"
        ) from error
