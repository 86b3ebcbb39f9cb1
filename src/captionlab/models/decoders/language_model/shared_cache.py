"""A library's cache whose first keys and values belong to images, and the rest to rows.

Legend: B images, R rows (B K or B W), h heads, d width of a head, P positions of the image, t words.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from captionlab.core.hugging_face import transformers
from captionlab.models.attention.multi_head import KeysValues
from captionlab.models.decoders.language_model.library import KEY


def shared_cache(prefix: Iterable[KeysValues], words: Iterable[KeysValues] = ()) -> Any:
    """Return a cache in which the R / B rows of an image stand behind its own prefix.

    Args:
        prefix: of each layer, keys and values (B, h, P, d).
        words: of each layer, keys and values (R, h, t, d); none before the first word.

    What it keeps, and ``layers`` give back, is the words'. The library's attention reads one tensor
    of keys, so the two are joined for one layer at a time, and forgotten once it has attended
    (unless a backward pass waits for them).
    """
    cached = transformers(KEY).DynamicCache()
    layer = _layer_class()
    cached.layers = [layer(keys, values) for keys, values in prefix]
    for index, (keys, values) in enumerate(words):
        cached.layers[index].resume(keys, values)
    return cached


def resumed_cache(words: Iterable[KeysValues]) -> Any:
    """Return a cache that goes on behind keys and values (R, h, t, d) of each layer, without a copy."""
    from transformers.cache_utils import DynamicLayer

    cached = transformers(KEY).DynamicCache()
    for keys, values in words:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cached.layers.append(layer)
    return cached


def cross_cache(slots: Iterable[KeysValues], rows: int) -> Any:
    """Return a cache of an image's slots, (B, h, N, d) of each layer, for ``rows`` rows an image.

    They are repeated where a layer reads them, and forgotten behind it.
    """
    cached = transformers(KEY).DynamicCache()
    layer = _repeated_class()
    cached.layers = [layer(keys, values, rows) for keys, values in slots]
    return cached


def keys_of(cached: Any) -> tuple[KeysValues, ...]:
    """Return of each layer of a cache its keys and values."""
    return tuple((layer.keys, layer.values) for layer in cached.layers)


@cache
def _layer_class() -> type:
    from transformers.cache_utils import DynamicLayer

    class SharedPrefixLayer(DynamicLayer):
        """Keys and values of a prefix that is an image's, and of words that are a row's."""

        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.prefix = (keys, values)

        def resume(self, keys: Tensor, values: Tensor) -> None:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> Any:
            words = super().update(key_states, value_states, *args, **kwargs)
            return tuple(map(_joined, self.prefix, words))

        def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
            words: int = super().get_seq_length(*args, **kwargs)
            return self.prefix[0].shape[-2] + words

    return SharedPrefixLayer


@cache
def _repeated_class() -> type:
    from transformers.cache_utils import DynamicLayer

    class RepeatedLayer(DynamicLayer):
        """Keys and values (B, h, N, d) of images, read as those of their rows (R, h, N, d)."""

        def __init__(self, keys: Tensor, values: Tensor, rows: int) -> None:
            super().__init__()
            self.of_images = (keys, values)
            self.rows = rows
            self.is_initialized = True

        # in place of the attributes that the base class sets to None
        keys = property(lambda self: self._repeated(0), lambda self, value: None)
        values = property(lambda self: self._repeated(1), lambda self, value: None)

        def _repeated(self, which: int) -> Tensor:
            shared = self.of_images[which].unsqueeze(1)
            return shared.expand(-1, self.rows, -1, -1, -1).flatten(0, 1)

        def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
            return int(self.of_images[0].shape[-2])

    return RepeatedLayer


def _joined(shared: Tensor, own: Tensor) -> Tensor:
    """Return (R, h, P + t, d) of an image's (B, h, P, d) and its rows' (R, h, t, d)."""
    rows = own.unflatten(0, (shared.shape[0], -1))
    repeated = shared.unsqueeze(1).expand(-1, rows.shape[1], -1, -1, -1)  # a view
    return torch.cat([repeated, rows], -2).flatten(0, 1)
