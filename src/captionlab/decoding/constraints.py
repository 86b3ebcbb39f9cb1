"""What captions may be, for every decoding method alike.

Legend: B images, W hypotheses an image, t tokens so far, n the n-gram's length, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captionlab.core.errors import UserError
from captionlab.decoding.generated import require_integer, require_lengths
from captionlab.decoding.logits import ban_, never_ids, require_length_

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class GenerationConstraints:
    """The base of every decoding method: the limits of a caption.

    ``max_length``: most tokens, eos counted; a longer caption is cut there, without eos.
    ``min_length``: fewest words before eos. ``no_repeat_ngram``: no n tokens twice in a caption
    (Paulus et al. 2018), 0 for off. ``bad_endings``: words a caption must not end with;
    ``forbidden_words``: words it must not hold. UserError for a value that cannot be.
    """

    max_length: int = 20
    min_length: int = 1
    no_repeat_ngram: int = 0
    bad_endings: Sequence[str] = ()
    forbidden_words: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_lengths(self.min_length, self.max_length)
        require_integer("no_repeat_ngram", self.no_repeat_ngram, at_least=0)
        for key in ("bad_endings", "forbidden_words"):
            if isinstance(getattr(self, key), str):
                raise UserError(f"decoding.{key}={getattr(self, key)!r} must be a list of words")

    def logits_processor(
        self,
        *,
        bos_id: int,
        eos_id: int,
        pad_id: int,
        banned_ids: Sequence[int],
        encode: Encode | None,
        device: torch.device,
    ) -> LogitsProcessor:
        """Return the limits as a function of scores, its words as ids.

        Raises:
            UserError: for a word that the vocabulary does not have, or that is several tokens.
        """
        forbidden = word_ids("forbidden_words", self.forbidden_words, encode, banned_ids)
        endings = word_ids("bad_endings", self.bad_endings, encode, banned_ids)
        never = never_ids(
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            banned_ids=(*banned_ids, *forbidden),
            device=device,
        )
        bad = torch.tensor(endings, dtype=torch.long, device=device)
        return LogitsProcessor(never, bad, eos_id, self.min_length, self.no_repeat_ngram)


@dataclass(frozen=True)
class LogitsProcessor:
    """GenerationConstraints made ready for one call: ids on the device."""

    never: Tensor
    bad_endings: Tensor
    eos_id: int
    min_length: int
    no_repeat_ngram: int

    @property
    def needs_history(self) -> bool:
        """Whether the tokens so far matter."""
        return self.no_repeat_ngram > 0 or len(self.bad_endings) > 0

    def __call__(self, scores: Tensor, step: int, history: Tensor | None) -> Tensor:
        """Set scores (B,W,V) to -inf where a token may not follow ``history`` (B,W,t); return them.

        Where nothing would be left, eos is: a caption that cannot go on may end.
        """
        end = scores[..., self.eos_id].clone()
        ban_(scores, self.never)
        require_length_(scores, words=step, min_length=self.min_length, eos_id=self.eos_id)
        if history is None or step == 0:
            return scores
        if len(self.bad_endings):
            no_bad_ending_(scores, history, self.bad_endings, self.eos_id)
        if self.no_repeat_ngram:
            no_repeat_(scores, history, self.no_repeat_ngram)
        stuck = scores.amax(-1) == -torch.inf
        scores[..., self.eos_id] = torch.where(stuck, end, scores[..., self.eos_id])
        return scores


def no_repeat_(scores: Tensor, history: Tensor, n: int) -> Tensor:
    """Set scores (B,W,V) of tokens that would repeat an n-gram of ``history`` to -inf; return them.

    All windows of all hypotheses are compared at once with the last n - 1 tokens.
    """
    length = history.shape[-1]
    if length < n:
        return scores
    windows = history.unfold(-1, n, 1)  # (B,W,t-n+1,n)
    last = history[..., length - n + 1 :].unsqueeze(-2)
    same = (windows[..., : n - 1] == last).all(-1)
    # a window that does not match leaves what stands there: the least of it and infinity
    limit = torch.full_like(same, torch.inf, dtype=scores.dtype).masked_fill(same, -torch.inf)
    return scores.scatter_reduce_(-1, windows[..., n - 1], limit, "amin")


def no_bad_ending_(scores: Tensor, history: Tensor, words: Tensor, eos_id: int) -> Tensor:
    """Set scores (B,W,V) of eos after one of ``words`` (n,) to -inf, and return them."""
    scores[..., eos_id].masked_fill_(torch.isin(history[..., -1], words), -torch.inf)
    return scores


def word_ids(
    key: str, words: Sequence[str], encode: Encode | None, unknown: Sequence[int]
) -> list[int]:
    """Return the ids of words; UserError, naming ``decoding.<key>``, for one that has no id."""
    if not words:
        return []
    if encode is None:
        raise UserError(f"decoding.{key} needs the tokenizer: pass encode=tokenizer.encode")
    token_ids = []
    for word in words:
        ids = encode(word)
        if len(ids) != 1 or ids[0] in unknown:
            raise UserError(
                f"decoding.{key} has {word!r}, which is not one word of this vocabulary"
            )
        token_ids += ids
    return token_ids
