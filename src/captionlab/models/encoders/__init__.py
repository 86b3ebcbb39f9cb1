"""Encoders: images in, a Memory out."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "small_cnn": ["SmallCNN"],
        "torchvision": ["TorchvisionEncoder"],
        "timm": ["TimmEncoder"],
        "hugging_face": ["HuggingFaceEncoder"],
        "stored": ["StoredEncoder"],
    },
)
