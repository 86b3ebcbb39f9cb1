"""captionlab: an image-captioning experiment framework.

``from captionlab import load_captioner`` gives a trained captioner that takes photos.
"""

from typing import Any

__all__ = ["UserError", "load_captioner"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # lazily: `import captionlab` alone must not load torch
    if name == "load_captioner":
        from captionlab.inference.loaded import load_captioner

        return load_captioner
    if name == "UserError":
        from captionlab.core.errors import UserError

        return UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
