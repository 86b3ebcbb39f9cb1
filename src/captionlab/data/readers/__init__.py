"""Caption sources: one class for each layout that data sets are published in."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.data.readers.coco import CocoOfficial as CocoOfficial
    from captionlab.data.readers.datasets import Coco as Coco
    from captionlab.data.readers.datasets import Flickr8k as Flickr8k
    from captionlab.data.readers.datasets import Flickr30k as Flickr30k
    from captionlab.data.readers.flickr import Flickr8kCaptionsTxt as Flickr8kCaptionsTxt
    from captionlab.data.readers.flickr import Flickr8kCN as Flickr8kCN
    from captionlab.data.readers.flickr import Flickr8kPublished as Flickr8kPublished
    from captionlab.data.readers.flickr import Flickr30kPublished as Flickr30kPublished
    from captionlab.data.readers.karpathy import Karpathy as Karpathy
    from captionlab.data.readers.shapes import Shapes as Shapes
    from captionlab.data.readers.tables import CsvCaptions as CsvCaptions
    from captionlab.data.readers.tables import JsonlCaptions as JsonlCaptions
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "shapes": ["Shapes"],
            "datasets": ["Coco", "Flickr8k", "Flickr30k"],
            "coco": ["CocoOfficial"],
            "karpathy": ["Karpathy"],
            "tables": ["CsvCaptions", "JsonlCaptions"],
            "flickr": [
                "Flickr8kPublished",
                "Flickr8kCaptionsTxt",
                "Flickr8kCN",
                "Flickr30kPublished",
            ],
        },
    )
