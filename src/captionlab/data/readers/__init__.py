"""Caption sources: one class for each layout that data sets are published in."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.data.readers.auto import Auto as Auto
    from captionlab.data.readers.coco import CocoOfficial as CocoOfficial
    from captionlab.data.readers.conversations import Conversations as Conversations
    from captionlab.data.readers.datasets import Coco as Coco
    from captionlab.data.readers.datasets import Flickr8k as Flickr8k
    from captionlab.data.readers.datasets import Flickr30k as Flickr30k
    from captionlab.data.readers.flickr import Flickr8kCaptionsTxt as Flickr8kCaptionsTxt
    from captionlab.data.readers.flickr import Flickr8kCN as Flickr8kCN
    from captionlab.data.readers.flickr import Flickr8kPublished as Flickr8kPublished
    from captionlab.data.readers.flickr import Flickr30kPublished as Flickr30kPublished
    from captionlab.data.readers.image_folder import ImageFolder as ImageFolder
    from captionlab.data.readers.joined import Joined as Joined
    from captionlab.data.readers.json_tables import JsonCaptions as JsonCaptions
    from captionlab.data.readers.karpathy import Karpathy as Karpathy
    from captionlab.data.readers.plain_tables import TableCaptions as TableCaptions
    from captionlab.data.readers.shapes import Shapes as Shapes
    from captionlab.data.readers.shapes import ShapesQuestions as ShapesQuestions
    from captionlab.data.readers.shapes_styles import ShapesStyles as ShapesStyles
    from captionlab.data.readers.shard_readers import ParquetCaptions as ParquetCaptions
    from captionlab.data.readers.shard_readers import SavedDataset as SavedDataset
    from captionlab.data.readers.sidecars import PascalSentences as PascalSentences
    from captionlab.data.readers.sidecars import Sidecars as Sidecars
    from captionlab.data.readers.tables import CsvCaptions as CsvCaptions
    from captionlab.data.readers.tables import JsonlCaptions as JsonlCaptions
    from captionlab.data.readers.vqa import VqaV2 as VqaV2
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "shapes": ["Shapes", "ShapesQuestions"],
            "shapes_styles": ["ShapesStyles"],
            "datasets": ["Coco", "Flickr8k", "Flickr30k"],
            "coco": ["CocoOfficial"],
            "karpathy": ["Karpathy"],
            "tables": ["CsvCaptions", "JsonlCaptions"],
            "plain_tables": ["TableCaptions"],
            "json_tables": ["JsonCaptions"],
            "sidecars": ["PascalSentences", "Sidecars"],
            "image_folder": ["ImageFolder"],
            "shard_readers": ["ParquetCaptions", "SavedDataset"],
            "conversations": ["Conversations"],
            "auto": ["Auto"],
            "joined": ["Joined"],
            "vqa": ["VqaV2"],
            "flickr": [
                "Flickr8kPublished",
                "Flickr8kCaptionsTxt",
                "Flickr8kCN",
                "Flickr30kPublished",
            ],
        },
    )
