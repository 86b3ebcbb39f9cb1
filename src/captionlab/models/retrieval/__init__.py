"""What training images and their captions say of an image like them."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.retrieval.prompt import CaptionRetrieval as CaptionRetrieval
else:
    __getattr__, __dir__, __all__ = lazy_exports(__name__, {"prompt": ["CaptionRetrieval"]})
