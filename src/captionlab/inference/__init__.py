"""Trained captioners: checkpoints and photographs."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.inference.checkpoints import Checkpoint as Checkpoint
    from captionlab.inference.checkpoints import read_checkpoint as read_checkpoint
    from captionlab.inference.loaded import LoadedCaptioner as LoadedCaptioner
    from captionlab.inference.loaded import load_captioner as load_captioner
    from captionlab.inference.loaded import require_alike as require_alike
    from captionlab.inference.weights import captioner_of as captioner_of
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "loaded": ["LoadedCaptioner", "load_captioner", "require_alike"],
            "checkpoints": ["Checkpoint", "read_checkpoint"],
            "weights": ["captioner_of"],
        },
    )
