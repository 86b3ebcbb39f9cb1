"""Stored features in place of images."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "store": ["FeatureStore", "write_store"],
        "regions": ["open_features"],
    },
)
