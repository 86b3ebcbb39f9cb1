"""A second task for the encoder and what it hands on: which words will the captions use?

Legend: B images, K captions an image, T tokens, D memory width, G tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captionlab.core.errors import UserError
from captionlab.core.memory import Memory

# Words of English and characters of Chinese that say nothing of what is seen.
_STOPPED = """
a about after all also an and another any are around as at away be because been before behind being
below beside between both but by can did do does doing down each few for from get gets getting had
has have having he her him his how in inside into is it its just like many more most near next no
not of off on one onto or other others out outside over own several she so some something such than
that the their them then there these they this those through to together toward towards two under
up very was were what when where which while who with within without
的 了 着 在 一 个 和 是 有 上 下 里 中 这 那 与 及 们 地 得 把 被 从 对 到 旁 边 两 位 只 条 名 正 前 后 面
"""
STOP_WORDS = frozenset(_STOPPED.split())


class TagHead(nn.Module):
    """Predicts from the pooled image which content words its captions hold (Fang et al. 2015, 3).

    The tags are the ``size`` most frequent words without stop words, fewer if there are fewer.
    ``weight`` is the factor of its loss beside the objective's. At build time come ``words``, the
    texts of all token ids, the frequent first, ``memory_dim`` and ``pooled_dim``, the width of the
    pooled image where that is another. Raises UserError for a ``size``
    below 1, a ``weight`` that is not positive, or words of which none can be a tag.
    """

    places: Tensor

    def __init__(
        self,
        *,
        size: int = 256,
        weight: float = 1.0,
        words: Sequence[str],
        memory_dim: int,
        pooled_dim: int | None = None,
    ) -> None:
        super().__init__()
        if size < 1:
            raise UserError(f"model.tags.size={size} must be at least 1.")
        if not weight > 0:
            raise UserError(
                f"model.tags.weight={weight} must be above 0; model/tags=none turns tags off."
            )
        self.ids = content_ids(words, size)
        if not self.ids:
            raise UserError(
                f"model.tags has nothing to predict: none of the vocabulary's {len(words):,} "
                "entries is a content word; say model/tags=none."
            )
        self.weight = weight
        self.tags = tuple(words[i] for i in self.ids)
        self.output = nn.Linear(memory_dim if pooled_dim is None else pooled_dim, len(self.ids))
        # of each token id the index of its tag; what is no tag shares one more, G
        places = torch.full((len(words),), len(self.ids))
        places[torch.tensor(self.ids)] = torch.arange(len(self.ids))
        self.register_buffer("places", places)

    def forward(self, memory: Memory) -> Tensor:
        """Return logits (B, G) of the tags."""
        return self.output(memory.pooled)

    def targets(self, tokens: Tensor) -> Tensor:
        """Return which tags stand in any of an image's captions, (B, G) bool, of (B, K, T) ids."""
        there = torch.zeros(len(tokens), len(self.ids) + 1, dtype=torch.bool, device=tokens.device)
        return there.scatter_(1, self.places[tokens.flatten(1)], True)[:, :-1]

    def loss(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Return the binary cross-entropy in nats, the mean over images and tags, unweighted."""
        logits = self(memory).float()
        return F.binary_cross_entropy_with_logits(logits, self.targets(tokens).float())


def content_ids(words: Sequence[str], size: int) -> list[int]:
    """Return the ids of the first ``size`` words that are letters and no stop words, each once.

    A single letter of an alphabet is no word; a single Chinese character is.
    """
    chosen: dict[str, int] = {}
    for token_id, word in enumerate(words):
        if len(chosen) == size:
            break
        short = len(word) == 1 and word.isascii()
        if word.isalpha() and not short and word not in STOP_WORDS and word not in chosen:
            chosen[word] = token_id
    return list(chosen.values())


def mean_average_precision(scores: Tensor, there: Tensor) -> float:
    """Return the mean over tags of the average precision of images ranked by score.

    ``scores`` (I, G), ``there`` (I, G) bool, of I images. Tags that no image has do not count; NaN
    if that is all of them. Equal scores are ranked worst first, so that a constant gains nothing.
    """
    used = there.any(dim=0)
    scores, there = scores[:, used].double(), there[:, used]
    if not there.numel():
        return float("nan")
    worst_first = there.long().argsort(dim=0, stable=True)
    order = scores.gather(0, worst_first).argsort(dim=0, descending=True, stable=True)
    hits = there.gather(0, worst_first.gather(0, order))
    ranks = torch.arange(1, len(hits) + 1, dtype=torch.double, device=hits.device).unsqueeze(1)
    precision = hits.cumsum(0) / ranks
    return float(((precision * hits).sum(0) / hits.sum(0)).mean())
