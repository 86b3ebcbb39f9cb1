"""Encoders: images in, a Memory out."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.encoders.captioner_vision import CaptionerVision as CaptionerVision
    from captionlab.models.encoders.hugging_face import HuggingFaceEncoder as HuggingFaceEncoder
    from captionlab.models.encoders.image_encoder import ImageEncoder as ImageEncoder
    from captionlab.models.encoders.image_encoder import TrunkEncoder as TrunkEncoder
    from captionlab.models.encoders.small_cnn import SmallCNN as SmallCNN
    from captionlab.models.encoders.stored import StoredEncoder as StoredEncoder
    from captionlab.models.encoders.timm import TimmEncoder as TimmEncoder
    from captionlab.models.encoders.torchvision import TorchvisionEncoder as TorchvisionEncoder
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__,
        {
            "small_cnn": ["SmallCNN"],
            "image_encoder": ["ImageEncoder", "TrunkEncoder"],
            "torchvision": ["TorchvisionEncoder"],
            "timm": ["TimmEncoder"],
            "hugging_face": ["HuggingFaceEncoder"],
            "captioner_vision": ["CaptionerVision"],
            "stored": ["StoredEncoder"],
        },
    )
