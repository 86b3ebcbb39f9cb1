"""Caption sources: one class for each layout that data sets are published in."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "shapes": ["Shapes"],
        "datasets": ["Coco", "Flickr8k", "Flickr30k"],
        "coco": ["CocoOfficial"],
        "karpathy": ["Karpathy"],
        "tables": ["CsvCaptions", "JsonlCaptions"],
        "flickr": ["Flickr8kPublished", "Flickr8kCaptionsTxt", "Flickr8kCN", "Flickr30kPublished"],
    },
)
