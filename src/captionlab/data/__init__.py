"""Image-caption pairs: data sets, batches and the LightningDataModule."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.data.datamodule import CaptionDataModule as CaptionDataModule
    from captionlab.data.dataset import CaptionBatch as CaptionBatch
    from captionlab.data.dataset import CaptionDataset as CaptionDataset
    from captionlab.data.dataset import CaptionExample as CaptionExample
    from captionlab.data.images.prepare import Augment as Augment
    from captionlab.data.mixing import Extra as Extra
    from captionlab.data.records import CaptionRecord as CaptionRecord
    from captionlab.data.records import CaptionSource as CaptionSource
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "datamodule": ["CaptionDataModule"],
            "dataset": ["CaptionBatch", "CaptionDataset", "CaptionExample"],
            "records": ["CaptionRecord", "CaptionSource"],
            "images.prepare": ["Augment"],
            "mixing": ["Extra"],
        },
    )
