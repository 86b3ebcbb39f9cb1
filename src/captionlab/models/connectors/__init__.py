"""Connectors: what stands between encoder and decoder, a memory in and a memory out."""

from typing import TYPE_CHECKING

from captionlab.core.lazy import lazy_exports

if TYPE_CHECKING:
    from captionlab.models.connectors.linear import LinearConnector as LinearConnector
    from captionlab.models.connectors.qformer import QFormerConnector as QFormerConnector
else:
    __getattr__, __dir__, __all__ = lazy_exports(
        __name__, {"linear": ["LinearConnector"], "qformer": ["QFormerConnector"]}
    )
