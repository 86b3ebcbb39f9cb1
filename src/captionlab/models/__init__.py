"""Captioners: encoders, attention, decoders and the tag head."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.captioner import Captioner as Captioner
    from captionlab.models.captioner import Decoded as Decoded
    from captionlab.models.captioner import Decoder as Decoder
    from captionlab.models.state import PER_BEAM as PER_BEAM
    from captionlab.models.state import State as State
    from captionlab.models.tags import TagHead as TagHead
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "captioner": ["Captioner", "Decoded", "Decoder"],
            "state": ["PER_BEAM", "State"],
            "tags": ["TagHead"],
        },
    )
