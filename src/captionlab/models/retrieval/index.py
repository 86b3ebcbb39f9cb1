"""Training images and their captions, found by what an encoder sees of an image.

Legend: B images that are asked about, I images of the index, C captions of all of them, S their
tokens, P width of the pooled vector, k neighbors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError

LONGEST = 4_096  # tokens of a caption
ROWS = 16_384  # images of the index compared at once: their features are unpacked to float32


class IndexSizes(NamedTuple):
    """How large an index is: its images, their captions, and the tokens of all captions."""

    images: int
    captions: int
    tokens: int


class Neighbors(NamedTuple):
    """The ``k`` nearest images of the index, nearest first."""

    images: Tensor  # (B,k) int64 numbers of images
    similarity: Tensor  # (B,k) cosine


class CaptionIndex(nn.Module):
    """Images as unit vectors in half precision, and the token ids of their captions.

    All of it are buffers, so that it stands in a checkpoint: ``features`` (I,P); the captions of
    image i are ``first_caption[i]`` to ``first_caption[i + 1]``, and ``tokens`` from
    ``first_token[c]`` to ``first_token[c + 1]`` are those of caption c, without bos and eos.

    Args:
        dim: P. sizes: of the index, all 0 for one that is yet to be filled.
        vocabulary_size: above every id. UserError for negative sizes.
    """

    features: Tensor
    first_caption: Tensor
    first_token: Tensor
    tokens: Tensor

    def __init__(self, dim: int, sizes: Sequence[int], *, vocabulary_size: int) -> None:
        super().__init__()
        if len(sizes) != 3 or min(sizes) < 0:
            raise UserError(
                f"index={list(sizes)} are not the numbers of images, captions and tokens that a run "
                "writes there: leave it out"
            )
        images, captions, tokens = sizes
        self.vocabulary_size = vocabulary_size
        self.register_buffer("features", torch.zeros(images, dim, dtype=torch.float16))
        self.register_buffer("first_caption", torch.zeros(images + 1, dtype=torch.int32))
        self.register_buffer("first_token", torch.zeros(captions + 1, dtype=torch.int32))
        self.register_buffer("tokens", torch.zeros(tokens, dtype=torch.int32))
        self.version = 0  # another one after each change
        self._checked = False

    @property
    def sizes(self) -> IndexSizes:
        """How large it is."""
        return IndexSizes(len(self.features), len(self.first_token) - 1, len(self.tokens))

    def set_captions(self, captions: Sequence[Sequence[Sequence[int]]]) -> None:
        """Hold these captions, token ids of each image's, and forget all that was held before."""
        flat = [caption for image in captions for caption in image]
        device = self.features.device
        self.features = self.features.new_zeros(len(captions), self.features.shape[1])
        self.first_caption = _offsets(captions).to(device)
        self.first_token = _offsets(flat).to(device)
        ids = [token for caption in flat for token in caption]
        self.tokens = torch.tensor(ids, dtype=torch.int32, device=device)
        self._changed()

    def set_features(self, pooled: Iterable[Tensor]) -> None:
        """Hold the images' pooled vectors, (B,P) of some images after the other.

        Raises:
            UserError: if they are not as many as there are captions of.
        """
        rows = [F.normalize(part.float(), dim=-1).to(self.features) for part in pooled]
        features = torch.cat(rows) if rows else self.features[:0]
        if features.shape != self.features.shape:
            raise UserError(
                f"the index has captions of {len(self.features)} images and features of "
                f"{tuple(features.shape)}, and {tuple(self.features.shape)} were expected"
            )
        self.features = features
        self._changed()

    def nearest(self, pooled: Tensor, count: int, leave_out: Tensor | None = None) -> Neighbors:
        """Return the nearest images by cosine, ``count`` of them or as many as there are.

        Args:
            pooled: (B,P). leave_out: (B,) the number of the image itself, which is not its own
                neighbor, -1 where it is not in the index.

        Raises:
            UserError: for an empty index, or one whose parts do not fit together.
        """
        self.require_sound()
        query = F.normalize(pooled.float(), dim=-1)
        parts = [query @ rows.float().T for rows in self.features.split(ROWS)]
        similarity = torch.cat(parts, 1).nan_to_num(nan=-1.0)
        count = min(count, similarity.shape[1])
        if leave_out is not None:
            own = torch.arange(similarity.shape[1], device=similarity.device) == leave_out[:, None]
            similarity = similarity.masked_fill(own, -torch.inf)
            count = max(1, min(count, similarity.shape[1] - 1))
        found = similarity.topk(count, dim=1)
        return Neighbors(found.indices, found.values)

    def captions_of(self, images: Tensor) -> Tensor:
        """Return the numbers of the captions (c,) of images (k,), in the order of the images."""
        return spans(self.first_caption, images)[0]

    def nearest_captions(
        self, pooled: Tensor, count: int, leave_out: Tensor | None = None
    ) -> list[list[Tensor]]:
        """Return the captions of the ``count`` nearest images of each image (B,P), token ids (T,).

        The first captions of the nearest images, then the second ones, and so on. ``leave_out`` as in
        ``nearest``. Raises UserError as it does.
        """
        found = self.nearest(pooled, count, leave_out)
        return [[self.caption(n) for n in self._dealt(images)] for images in found.images]

    def _dealt(self, images: Tensor) -> list[int]:
        """Return the numbers of captions of images (k,), the first of each before any second one."""
        numbers, place = spans(self.first_caption, images)
        turn = numbers - self.first_caption[images].long()[place]
        return numbers[turn.argsort(stable=True)].tolist()

    def caption(self, number: int) -> Tensor:
        """Return the token ids (T,) of a caption, without bos and eos."""
        start, end = self.first_token[number : number + 2].tolist()
        return self.tokens[start:end].long()

    def require_sound(self) -> None:
        """Raise UserError for an index that is empty, or whose parts do not fit together."""
        if self._checked:
            return
        images, captions, tokens = self.sizes
        if not images or not captions:
            raise UserError(
                "this captioner has looked at no training images yet: python train.py makes one that "
                "has"
            )
        sound = _cover(self.first_caption, captions) and _cover(self.first_token, tokens)
        # comparing captions takes as many rounds as one repeats a word
        sound = sound and int(self.first_token.diff().max()) <= LONGEST
        if tokens:
            lowest, highest = self.tokens.aminmax()
            sound = sound and int(lowest) >= 0 and int(highest) < self.vocabulary_size
        if not sound:
            raise UserError(
                "the index of training captions is damaged: its parts do not fit together"
            )
        self._checked = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._changed()

    def _changed(self) -> None:
        self._checked = False
        self.version += 1


def spans(first: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the items (n,) that belong to rows (r,), and the place in ``rows`` (n,) of each.

    Those of row i are ``first[i]`` to ``first[i + 1]``.
    """
    starts = first[rows].long()
    sizes = first[rows + 1].long() - starts
    place = torch.arange(len(rows), device=rows.device).repeat_interleave(sizes)
    before = sizes.cumsum(0) - sizes
    within = torch.arange(len(place), device=rows.device) - before[place]
    return starts[place] + within, place


def _offsets(groups: Sequence[Sequence[Any]]) -> Tensor:
    """Return where each group begins in all of them together, and behind them the end."""
    sizes = torch.tensor([0, *map(len, groups)])
    return sizes.cumsum(0).to(torch.int32)


def _cover(first: Tensor, count: int) -> bool:
    """Return whether offsets lead from 0 to ``count`` and never back."""
    ends = int(first[0]) == 0 and int(first[-1]) == count
    return ends and bool((first.diff() >= 0).all())
