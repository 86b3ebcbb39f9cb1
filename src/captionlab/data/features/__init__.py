"""Stored features in place of images."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.data.features.regions import open_features as open_features
    from captionlab.data.features.store import FeatureStore as FeatureStore
    from captionlab.data.features.store import write_store as write_store
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "store": ["FeatureStore", "write_store"],
            "regions": ["open_features"],
        },
    )
