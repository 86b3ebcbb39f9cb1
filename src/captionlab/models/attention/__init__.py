"""Attention over the slots of a Memory."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.attention.adaptive import AdaptiveAttention as AdaptiveAttention
    from captionlab.models.attention.additive import AdditiveAttention as AdditiveAttention
    from captionlab.models.attention.additive import (
        GatedAdditiveAttention as GatedAdditiveAttention,
    )
    from captionlab.models.attention.attention_on_attention import (
        AttentionOnAttention as AttentionOnAttention,
    )
    from captionlab.models.attention.base import Attention as Attention
    from captionlab.models.attention.base import NoAttention as NoAttention
    from captionlab.models.attention.base import ScoreAttention as ScoreAttention
    from captionlab.models.attention.dot import DotAttention as DotAttention
    from captionlab.models.attention.hard import HardAttention as HardAttention
    from captionlab.models.attention.multi_head import MultiHeadAttention as MultiHeadAttention
else:
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
