"""Attention of recurrent decoders over the slots of a Memory."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "base": [
            "Attention",
            "NoAttention",
            "AdditiveAttention",
            "GatedAdditiveAttention",
            "DotAttention",
        ],
        "families": [
            "MultiHeadAttention",
            "AttentionOnAttention",
            "AdaptiveAttention",
            "HardAttention",
        ],
    },
)
