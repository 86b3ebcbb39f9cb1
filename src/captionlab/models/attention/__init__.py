"""Attention over the slots of a Memory."""

from captionlab.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "base": ["Attention", "NoAttention", "ScoreAttention"],
        "additive": ["AdditiveAttention", "GatedAdditiveAttention"],
        "dot": ["DotAttention"],
        "multi_head": ["MultiHeadAttention"],
        "attention_on_attention": ["AttentionOnAttention"],
        "adaptive": ["AdaptiveAttention"],
        "hard": ["HardAttention"],
    },
)
