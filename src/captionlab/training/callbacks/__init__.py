"""Callbacks of Lightning's trainer."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.training.callbacks.averaging import (
        ExponentialMovingAverage as ExponentialMovingAverage,
    )
    from captionlab.training.callbacks.progress import Progress as Progress
    from captionlab.training.callbacks.stopping import Interrupt as Interrupt
    from captionlab.training.callbacks.stopping import LastCheckpoint as LastCheckpoint
    from captionlab.training.callbacks.validation import Collapse as Collapse
    from captionlab.training.callbacks.validation import Gallery as Gallery
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "averaging": ["ExponentialMovingAverage"],
            "progress": ["Progress"],
            "stopping": ["Interrupt", "LastCheckpoint"],
            "validation": ["Collapse", "Gallery"],
        },
    )
