"""Captions of similar training images, given to a decoder before it writes.

Legend: B images, P tokens of a prompt, D width of the encoder's pooled vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice

from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.special_tokens import SpecialTokens
from captionlab.models.retrieval.index import CaptionIndex

MOST = 4_096  # images, and tokens of a prompt: far above what any decoder reads


class CaptionRetrieval(nn.Module):
    """Finds what is said of the most similar training images (Ramos et al. 2023, "SmallCap").

    An image's prompt are the captions of the ``images`` training images nearest to it, by cosine of
    the encoder's pooled vectors: the first caption of each, then the second of each, and so on,
    ``separator_id`` before each of them. They go on from the beginning where they are too short, and
    are cut so that bos, behind which the caption begins, is the last of ``tokens``: prompts of one
    length are decoded together. No weight is learned; ``index`` are the sizes of the index that a run
    has filled.

    Args:
        pooled_dim: D. separator_id: of the control token that stands before a caption.

    Raises:
        UserError: for values outside their range.
    """

    def __init__(
        self,
        *,
        images: int = 4,
        tokens: int = 64,
        index: list[int] | None = None,
        pooled_dim: int,
        vocabulary_size: int,
        separator_id: int,
    ) -> None:
        super().__init__()
        for key, value, least in (("images", images, 1), ("tokens", tokens, 2)):
            if not least <= value <= MOST:
                raise UserError(f"{key}={value} must be at least {least} and at most {MOST:,}")
        self.images = images
        self.tokens = tokens
        self.separator_id = separator_id
        self.index = CaptionIndex(pooled_dim, index or (0, 0, 0), vocabulary_size=vocabulary_size)

    def prompts(self, pooled: Tensor, leave_out: Tensor | None = None) -> list[list[int]]:
        """Return the token ids of each image's prompt, ``tokens`` each.

        Args:
            pooled: (B,D) as the encoder gives it, before any connector. leave_out: (B,) the number of
                the image itself in the index, whose captions it must not be told; -1 for none.

        Raises:
            UserError: for an index that is empty or damaged.
        """
        return [
            [*islice(cycle(self._joined(captions)), self.tokens - 1), SpecialTokens.BOS]
            for captions in self.index.nearest_captions(pooled, self.images, leave_out)
        ]

    def _joined(self, captions: Sequence[Tensor]) -> Iterator[int]:
        return chain.from_iterable([self.separator_id, *ids.tolist()] for ids in captions)
