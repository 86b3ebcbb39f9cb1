"""ONNX: a captioner as three graphs, what runs them here, and a script that runs them anywhere."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.inference.export.onnx.captioner import OnnxCaptioner as OnnxCaptioner
    from captionlab.inference.export.onnx.write import write_onnx as write_onnx
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__, {"captioner": ["OnnxCaptioner"], "write": ["write_onnx"]}
    )
