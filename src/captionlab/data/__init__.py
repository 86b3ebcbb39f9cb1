"""Image-caption pairs: data sets, batches and the LightningDataModule."""

from captionlab.core.lazy import lazy_exports

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
