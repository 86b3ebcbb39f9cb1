"""Trained captioners: checkpoints and photographs."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "loaded": ["LoadedCaptioner", "load_captioner", "require_alike"],
        "checkpoints": ["Checkpoint", "read_checkpoint"],
        "weights": ["captioner_of"],
    },
)
