"""Callbacks of Lightning's trainer."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "progress": ["Progress"],
        "stopping": ["Interrupt", "LastCheckpoint"],
        "validation": ["Collapse", "Gallery"],
    },
)
