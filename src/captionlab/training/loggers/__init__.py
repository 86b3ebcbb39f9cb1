"""Loggers of Lightning's trainer."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.training.loggers.dashboards import tensorboard as tensorboard
    from captionlab.training.loggers.dashboards import weights_and_biases as weights_and_biases
    from captionlab.training.loggers.table_logger import TableLogger as TableLogger
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "dashboards": ["tensorboard", "weights_and_biases"],
            "table_logger": ["TableLogger"],
        },
    )
