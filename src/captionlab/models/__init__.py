"""Captioners: encoders, attention, decoders and the tag head."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "captioner": ["Captioner", "Decoder"],
        "tags": ["TagHead"],
    },
)
