"""Loggers of Lightning's trainer."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "dashboards": ["tensorboard", "weights_and_biases"],
        "table_logger": ["TableLogger"],
    },
)
